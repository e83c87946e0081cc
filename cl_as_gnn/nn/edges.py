"""The edge and feature formats PyG's layers take, made into one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import is_sparse, to_edge_index

from cl_as_gnn.nn.checks import check_edges, shape_of


def as_edges(layer: str, edge_index: Adj, edge_weight: OptTensor = None) -> tuple[Tensor, OptTensor]:
    """Edges ``(2, E)``, row 0 the sources, and their weights, from an ``edge_index`` or a sparse :math:`A^\\top`.

    Args:
        layer: who asks, for the error message.
        edge_index: ``(2, E)``, ``EdgeIndex``, or a sparse adjacency whose rows are the targets.
        edge_weight: ``(E,)`` or none; a sparse adjacency brings its own.

    Raises:
        ValueError: of another shape or type.
    """
    if not is_sparse(edge_index):
        check_edges(layer, edge_index, edge_weight)
        return edge_index, edge_weight
    if edge_weight is not None:
        raise ValueError(f"{layer}: the sparse adjacency already holds weights, pass edge_weight=None")
    edge_index, edge_weight = to_edge_index(edge_index)
    return edge_index.flip(0), edge_weight


Features = Tensor | tuple[Tensor, Tensor]


def widen(x: Features) -> Features:
    """Half precision as float32, in which degrees and sums over neighbours are exact enough; the rest as it is."""
    if isinstance(x, tuple):
        first, second = x
        return _wide(first), _wide(second)
    return _wide(x)


def _wide(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise ValueError(
            f"features are a tensor (n, d), or a tuple of two for a bipartite graph, got {type(x).__name__}"
        )
    if x.dim() != 2 or not x.is_floating_point():
        raise ValueError(f"features are of shape (n, d) and a floating type, got {shape_of(x)}")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# Who looks at the single messages of PyG's `propagate`, or changes them.
_HOOKS = tuple(
    f"_{step}_forward_{when}hooks" for step in ("propagate", "message", "aggregate") for when in ("pre_", "")
)


def by_messages(layer: MessagePassing, kind: type[MessagePassing]) -> bool:
    """Whether each message has to be made: for an explainer, a hook, or a subclass of ``kind`` with its own."""
    changed = type(layer).message is not kind.message or type(layer).aggregate is not MessagePassing.aggregate
    return bool(layer.explain) or changed or any(getattr(layer, name) for name in _HOOKS)
