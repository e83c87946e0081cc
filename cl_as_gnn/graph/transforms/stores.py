"""What the transforms share: which parts of a ``Data`` or ``HeteroData`` they act on."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.data import Data, HeteroData


def node_store(transform: str, data: Data | HeteroData, node_type: str | None) -> Any:
    """The storage of the nodes of one type; of the only nodes there are for a ``Data``."""
    if not isinstance(data, HeteroData):
        if node_type is not None:
            raise ValueError(f"{transform}: a graph with one type of node takes no node_type, got {node_type!r}")
        return data
    if node_type not in data.node_types:
        raise ValueError(f"{transform}: node_type is one of {data.node_types} of this HeteroData, got {node_type!r}")
    return data[node_type]


def edge_keys(data: Any) -> list[str]:
    """Attributes with one entry an edge, ``edge_index`` left out; another ``..._index`` is a graph of its own."""
    other = ("edge_index", "batch", "ptr")
    return [key for key in data.edge_attrs() if key not in other and not is_index(key) and f"{key}_index" not in data]


def index_keys(store: Any) -> list[str]:
    """Attributes that name nodes, ``edge_index`` among them."""
    return [key for key, value in store.items() if isinstance(value, Tensor) and is_index(key)]


def is_index(key: str) -> bool:
    """Whether an attribute of that name holds nodes' numbers: PyG's rule for what it counts on in a batch."""
    return "index" in key or key == "face"


def probability(transform: str, p: float) -> float:
    """p as a probability, or an error that names it."""
    if not 0 <= p <= 1:
        raise ValueError(f"{transform} expects a probability between 0 and 1, got {p}")
    return p
