"""The edge and feature formats PyG's layers take, made into one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import is_sparse, to_edge_index


def as_edges(layer: str, edge_index: Adj, edge_weight: OptTensor = None) -> tuple[Tensor, OptTensor]:
    """Edges ``(2, E)``, row 0 the sources, and their weights, from an ``edge_index`` or a sparse :math:`A^\\top`.

    Args:
        layer: who asks, for the error message.
        edge_index: ``(2, E)``, ``EdgeIndex``, or a sparse adjacency whose rows are the targets.
        edge_weight: ``(E,)`` or none; a sparse adjacency brings its own.
    """
    if not is_sparse(edge_index):
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
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
