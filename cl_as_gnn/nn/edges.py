"""The edges between views of a sample; one form for the edge and feature formats that PyG's layers take."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import is_sparse, to_edge_index

from cl_as_gnn.nn.checks import check_edges, check_features
from cl_as_gnn.nn.operators.adjacency import copy_edges


def augmentation_edges(num_samples: int, num_views: int, device: torch.device) -> Tensor:
    """Every ordered pair of different views of a sample, ``(2, B·V·(V−1))``: both directions, no self-loops.

    Nodes are view-major (node v·B + s is view v of sample s). The result is the caller's own; its order, on which
    products with it rest, is computed once per size and device.
    """
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


def as_edges(layer: str, edge_index: Adj, edge_weight: OptTensor = None) -> tuple[Tensor, OptTensor]:
    """Edges ``(2, E)``, row 0 the sources, and their weights, from an ``edge_index`` or a sparse :math:`A^\\top`.

    Args:
        layer: name of the layer, for the error message.
        edge_index: ``(2, E)``, ``EdgeIndex``, or a sparse adjacency whose rows are the targets.
        edge_weight: ``(E,)`` or ``None``; a sparse adjacency holds its own.

    Raises:
        ValueError: for another shape or type.
    """
    if not is_sparse(edge_index):
        check_edges(layer, edge_index, edge_weight)
        return edge_index, edge_weight
    if edge_weight is not None:
        raise ValueError(f"{layer} expects no edge_weight beside a sparse adjacency, which holds weights: pass None")
    edge_index, edge_weight = to_edge_index(edge_index)
    check_edges(layer, edge_index, edge_weight)
    return edge_index.flip(0), edge_weight


Features = Tensor | tuple[Tensor, Tensor]


def widen(layer: str, x: Features) -> tuple[Tensor, Tensor]:
    """Check and return the features of sources and targets, the same tensor for a graph on one set of nodes.

    Half precision is promoted to float32, so that degrees and sums over neighbors are accurate.
    """
    for part in x if isinstance(x, tuple) else (x,):
        check_features(layer, part)
    source, target = x if isinstance(x, tuple) else (x, x)
    wide = source if source.dtype in (torch.float32, torch.float64) else source.float()
    if target is source:
        return wide, wide
    return wide, target if target.dtype in (torch.float32, torch.float64) else target.float()


# Hooks that read or change single messages of PyG's `propagate`.
_HOOKS = tuple(
    f"_{step}_forward_{when}hooks" for step in ("propagate", "message", "aggregate") for when in ("pre_", "")
)


def by_messages(layer: MessagePassing, kind: type[MessagePassing]) -> bool:
    """Whether each message must be made: for an explainer, a hook, or a subclass of ``kind`` with its own."""
    changed = type(layer).message is not kind.message or type(layer).aggregate is not MessagePassing.aggregate
    return bool(layer.explain) or changed or any(getattr(layer, name) for name in _HOOKS)
