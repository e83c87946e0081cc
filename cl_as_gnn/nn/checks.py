"""Checks of the arguments of layers, losses and operators.

Every error is one line, "<Layer> expects ..., got ...: cure".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor


def shape_of(x: object) -> str:
    """Shape and type of a tensor, the type of anything else."""
    return f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}" if isinstance(x, Tensor) else type(x).__name__


def check_features(layer: str, x: Tensor) -> None:
    """``ValueError`` unless ``x`` is a floating-point tensor ``(n, d)``."""
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point():
        raise ValueError(
            f"{layer} expects floating-point features of shape (n, d), got {shape_of(x)}: "
            "pass one tensor, or a tuple of two for a bipartite graph"
        )


def host_checks(x: Tensor) -> bool:
    """Whether a look at the values costs no wait: on a CPU, neither compiled nor in a transform of ``torch.func``."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return type(x) in (Tensor, torch.nn.Parameter) and not torch._C._are_functorch_transforms_active()


def check_positive(layer: str, **value: float | Tensor | None) -> None:
    """``ValueError`` unless each value is ``None`` or a positive constant."""
    for key, number in value.items():
        if isinstance(number, Tensor) and number.requires_grad:
            raise ValueError(f"{layer} expects {key} as a constant, got a tensor with gradient: pass a number")
        if number is not None and not number > 0:
            raise ValueError(f"{layer} expects a positive {key}, got {number}")


def check_choice(layer: str, choices: tuple[str, ...], **value: str) -> None:
    """``ValueError`` unless each value is one of the choices."""
    for key, name in value.items():
        if name not in choices:
            raise ValueError(f"{layer} expects {key} as one of {', '.join(map(repr, choices))}, got {name!r}")


def check_batch(batch: Tensor | None, nodes: int) -> None:
    """``ValueError`` unless ``batch`` is ``None`` or has one entry per node."""
    if batch is None:
        return
    if batch.shape != (nodes,) or batch.is_floating_point() or batch.is_complex():
        raise ValueError(
            f"batch expects the graph of each of {nodes} nodes, integers of shape ({nodes},), got {shape_of(batch)}"
        )


def check_edges(layer: str, edge_index: Adj, edge_weight: OptTensor) -> None:
    """``ValueError`` unless the edges are integers ``(2, E)`` and the weights, if any, ``(E,)``."""
    tensor = isinstance(edge_index, Tensor)
    if (
        not tensor
        or edge_index.dim() != 2
        or edge_index.size(0) != 2
        or edge_index.dtype not in (torch.int64, torch.int32)
    ):
        raise ValueError(
            f"{layer} expects integer edges of shape (2, E), got {shape_of(edge_index)}: "
            "pass an edge_index or a sparse adjacency"
        )
    if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"{layer} expects a weight for each of {edge_index.size(1)} edges, got shape {tuple(edge_weight.shape)}"
        )
    if edge_weight is not None and edge_weight.is_complex():
        raise ValueError(f"{layer} expects real edge weights, got {shape_of(edge_weight)}: pass edge_weight.real")


def check_weights(layer: str, edge_weight: OptTensor, cure: str = "clip them") -> None:
    """``ValueError`` for a weight that is negative or not finite, on a CPU only: the host would have to wait for a
    GPU."""
    if edge_weight is None or edge_weight.numel() == 0 or not host_checks(edge_weight):
        return
    low, high = (float(bound) for bound in edge_weight.detach().aminmax())
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{layer} expects finite edge weights >= 0, got {low if not low >= 0 else high}: {cure}")


def check_range(edge_index: Tensor, sizes: tuple[int, int]) -> None:
    """``ValueError`` for an index out of range, on a CPU only, where sorting the edges does not check indices and would
    write out of bounds. A GPU checks by itself, and the host would have to wait for it."""
    if edge_index.device.type != "cpu" or edge_index.size(1) == 0 or torch.compiler.is_compiling():
        return
    for row, (size, name) in enumerate(zip(sizes, ("source", "target"), strict=True)):
        low, high = (int(bound) for bound in edge_index[row].aminmax())
        if low < 0 or high >= size:
            raise ValueError(
                f"edge_index[{row}] expects {name} nodes below {size}, counted from 0, got {low if low < 0 else high}: "
                "check num_nodes, and that row 0 holds the sources"
            )


def check_same_graph(layer: str, batch: Tensor | None, edge_index: Tensor, kind: str = "positive") -> None:
    """``ValueError`` for an edge between two graphs, on a CPU only: the host would have to wait for a GPU."""
    if batch is None or not host_checks(batch):
        return
    apart = int((batch[edge_index[0]] != batch[edge_index[1]]).sum())
    if apart:
        raise ValueError(
            f"{layer} expects {kind} edges within the graphs of batch, got {apart} {kind} edges between different "
            "graphs: give all views of a graph one number (of two stacked views of g graphs, batch % g)"
        )
