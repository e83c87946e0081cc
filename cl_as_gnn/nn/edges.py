"""The edges between views of a sample; one form for the edge and feature formats that PyG's layers take."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor, Size
from torch_geometric.utils import is_sparse, to_edge_index

from cl_as_gnn.nn.checks import (
    Got,
    as_device,
    check_count,
    check_device,
    check_edges,
    check_features,
    check_range,
    check_width,
    expects,
)
from cl_as_gnn.nn.operators.adjacency import copy_edges

Features = Tensor | tuple[Tensor, Tensor]
Nodes = Tensor | tuple[Tensor, Tensor | None]
_PAIR = "pass one tensor, or a tuple of two for a bipartite graph"


def augmentation_edges(num_samples: int, num_views: int, device: torch.device) -> Tensor:
    """Every ordered pair of different views of a sample, ``(2, B·V·(V−1))``: both directions, no self-loops.

    Nodes are view-major (node v·B + s is view v of sample s). The result is the caller's own; its order, on which
    products with it rest, is computed once per size and device.
    """
    check_count("augmentation_edges", least=0, num_samples=num_samples)
    check_count("augmentation_edges", num_views=num_views)
    device = as_device("augmentation_edges", device)
    plain = type(torch.empty(0, device=device)) is Tensor  # not in a mode of fake tensors
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or not plain:
        return _edges(num_samples, num_views, device)
    return copy_edges(_known_edges(num_samples, num_views, device))


def _edges(num_samples: int, num_views: int, device: torch.device) -> Tensor:
    node = torch.arange(num_samples * num_views, device=device).view(num_views, num_samples)
    shifts = [node.roll(-shift, 0) for shift in range(1, num_views)]
    source = torch.stack(shifts).flatten() if shifts else node.new_empty(0)
    return torch.stack([source, node.flatten().repeat(num_views - 1)])


_known_edges = lru_cache(maxsize=32)(_edges)


def with_targets(layer: str, x: Nodes, size: Size) -> Features:
    """The features, with zeros for the targets of ``(x, None)``, whose number ``size`` ``(sources, targets)`` tells.

    Raises:
        ValueError: ``size`` is missing there, or is not that of the features.
    """
    if isinstance(x, tuple) and len(x) == 2 and x[1] is None:
        check_features(layer, x[0], cure=_PAIR)
        if size is None:
            raise expects(layer, "size", "as (sources, targets) beside (x, None)", None)
        x = (x[0], x[0].new_zeros(size[1], x[0].size(1)))
    if size is not None:
        source, target = widen(layer, x)  # type: ignore[arg-type]
        if tuple(size) != (source.size(0), target.size(0)):
            raise expects(layer, "size", f"as {(source.size(0), target.size(0))}, that of x", Got(tuple(size)))
    return x  # type: ignore[return-value]


def as_edges(
    layer: str, ends: tuple[Tensor, Tensor], edge_index: Adj, edge_weight: OptTensor = None, key: str = "edge_index"
) -> tuple[Tensor, OptTensor]:
    """Edges ``(2, E)``, row 0 the sources, and their weights, from an ``edge_index`` or a sparse :math:`A^\\top`.

    Args:
        layer: name of the layer, for the error message.
        ends: features of the sources and of the targets.
        edge_index: ``(2, E)``, ``EdgeIndex``, or a sparse adjacency whose rows are the targets.
        edge_weight: ``(E,)`` or ``None``; a sparse adjacency holds its own.
        key: name of the argument, for the error message.

    Raises:
        ValueError: for another shape, type or device, and (detected on a CPU only) a node out of range.
    """
    if not is_sparse(edge_index):
        check_edges(layer, edge_index, edge_weight, key)
    elif edge_weight is not None:
        what = "as None beside a sparse adjacency, which holds weights"
        raise expects(layer, "edge_weight", what, edge_weight)
    else:
        edge_index, edge_weight = to_edge_index(edge_index)
        edge_index = edge_index.flip(0)
        check_edges(layer, edge_index, edge_weight, key)
    source, target = ends
    check_device(layer, source, **{key: edge_index, "edge_weight": edge_weight})
    check_range(layer, edge_index, (source.size(0), target.size(0)), key)
    return edge_index, edge_weight


def widen(layer: str, x: Features) -> tuple[Tensor, Tensor]:
    """Check and return the features of sources and targets, the same tensor for a graph on one set of nodes.

    Half precision is promoted to float32, so that degrees and sums over neighbors are accurate.
    """
    if isinstance(x, tuple) and len(x) != 2:
        raise expects(layer, "x", "as one tensor or a pair", Got(f"{len(x)} tensors"))
    source, target = x if isinstance(x, tuple) else (x, x)
    check_features(layer, source, cure=_PAIR)
    if target is not source:
        check_features(layer, target, cure=_PAIR)
        check_width(layer, target, source.size(1), cure="give sources and targets one width")
        check_device(layer, source, x=target)
    wide = source if source.dtype in (torch.float32, torch.float64) else source.float()
    if target is source:
        return wide, wide
    return wide, target if target.dtype in (torch.float32, torch.float64) else target.float()
