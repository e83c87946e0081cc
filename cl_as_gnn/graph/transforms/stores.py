"""Access to the parts of a ``Data`` or ``HeteroData`` on which transforms act."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.data import Data, HeteroData


def node_store(transform: str, data: Data | HeteroData, node_type: str | None) -> Any:
    """Storage of the nodes of one type; a ``Data`` has one type only."""
    if not isinstance(data, HeteroData):
        if node_type is not None:
            raise ValueError(f"{transform} expects no node_type for a Data, got {node_type!r}")
        return data
    if node_type not in data.node_types:
        raise ValueError(f"{transform} expects node_type as one of {data.node_types}, got {node_type!r}")
    return data[node_type]


def edge_keys(data: Any) -> list[str]:
    """Attributes with one entry per edge, except ``edge_index``; another ``..._index`` is a separate graph."""
    other = ("edge_index", "batch", "ptr")
    return [key for key in data.edge_attrs() if key not in other and not is_index(key) and f"{key}_index" not in data]


def index_keys(store: Any) -> list[str]:
    """Attributes that hold node indices, ``edge_index`` included."""
    return [key for key, value in store.items() if isinstance(value, Tensor) and is_index(key)]


def is_index(key: str) -> bool:
    """Whether an attribute of this name holds node indices, by the rule that PyG uses for batches."""
    return "index" in key or key == "face"


def probability(transform: str, p: float) -> float:
    """Return p, or raise ``ValueError`` unless it is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"{transform} expects a probability between 0 and 1, got {p}")
    return p
