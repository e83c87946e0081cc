"""Checks of what layers and losses are given: each raises one line that names the value and the cure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor


def check_batch(batch: Tensor | None, nodes: int) -> None:
    """``ValueError`` unless ``batch`` is none, or has one entry a node."""
    if batch is not None and batch.shape != (nodes,):
        raise ValueError(f"batch has the graph of each of {nodes} nodes, so {nodes} entries: got {tuple(batch.shape)}")


def check_edges(layer: str, edge_index: Adj, edge_weight: OptTensor) -> None:
    """``ValueError`` unless edges are integers ``(2, E)`` and weights, if any, ``(E,)``."""
    if not isinstance(edge_index, Tensor):
        raise ValueError(f"{layer} expects edges (2, E) or a sparse adjacency, got {type(edge_index).__name__}")
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{layer} expects integer edges of shape (2, E), got {shape_of(edge_index)}")
    if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"{layer} expects a weight for each of {edge_index.size(1)} edges, got shape {tuple(edge_weight.shape)}"
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


def shape_of(x: Tensor) -> str:
    return f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
