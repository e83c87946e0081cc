"""The edge and feature formats PyG's layers take, made into one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import is_sparse, to_edge_index


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


def check_edges(layer: str, edge_index: Adj, edge_weight: OptTensor) -> None:
    """``ValueError`` unless edges are integers ``(2, E)`` and weights, if any, ``(E,)``."""
    if not isinstance(edge_index, Tensor):
        raise ValueError(f"{layer} wants edges (2, E) or a sparse adjacency, got {type(edge_index).__name__}")
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{layer} wants integer edges of shape (2, E), got {_shape(edge_index)}")
    if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"{layer} wants a weight for each of {edge_index.size(1)} edges, got shape {tuple(edge_weight.shape)}"
        )


def check_range(edge_index: Tensor, sizes: tuple[int, int]) -> None:
    """``ValueError`` for an end that is no node, on a CPU: there what sorts the edges writes wherever an index says. A
    GPU checks by itself, and would be waited for."""
    if edge_index.device.type != "cpu" or edge_index.size(1) == 0 or torch.compiler.is_compiling():
        return
    for row, (size, name) in enumerate(zip(sizes, ("source", "target"), strict=True)):
        low, high = (int(bound) for bound in edge_index[row].aminmax())
        if low < 0 or high >= size:
            raise ValueError(
                f"edge_index[{row}] names {name} node {low if low < 0 else high}, but there are {size} {name} nodes, "
                "counted from 0: check num_nodes, and which row holds the sources"
            )


def _shape(x: Tensor) -> str:
    return f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"


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
        raise ValueError(f"features are of shape (n, d) and a floating type, got {_shape(x)}")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# Who looks at the single messages of PyG's `propagate`, or changes them.
_HOOKS = tuple(
    f"_{step}_forward_{when}hooks" for step in ("propagate", "message", "aggregate") for when in ("pre_", "")
)


def by_messages(layer: MessagePassing, kind: type[MessagePassing]) -> bool:
    """Whether each message has to be made: for an explainer, a hook, or a subclass of ``kind`` with its own."""
    changed = type(layer).message is not kind.message or type(layer).aggregate is not MessagePassing.aggregate
    return bool(layer.explain) or changed or any(getattr(layer, name) for name in _HOOKS)
