"""A minibatch of views as a PyG graph."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.knn import knn_edges
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION
from cl_as_gnn.nn.checks import as_device, check_count, check_features, check_integers, expects
from cl_as_gnn.nn.operators.adjacency import copy_edges


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


def rows_per_view(caller: str, x: Tensor, num_views: int) -> int:
    """The number of samples B of ``x`` ``(V·B, d)``; ValueError unless V divides its rows."""
    check_count(caller, num_views=num_views)
    if x.size(0) % num_views:
        raise expects(caller, "num_views", f"to divide the {x.size(0)} rows of x", num_views)
    return x.size(0) // num_views


def view_graph(x: Tensor, num_views: int, sample: Tensor | None = None, affinity_k: int | None = None) -> HeteroData:
    r"""The graph of a minibatch: one node per view, edges between views of a sample and, optionally, kNN edges.

    Args:
        x: features of the views ``(n, d)``, view-major (node :math:`v B + s` is view v of sample s), with gradient.
        num_views: :math:`V \ge 1`, a divisor of n.
        sample: data-set index of each of the B samples; 0 … B−1 if not given.
        affinity_k: add ``('view', 'affinity', 'view')`` edges from each view's k nearest views by cosine similarity.

    Returns:
        ``HeteroData`` with ``.num_views``, ``data['view'].x`` (n, d), ``.sample`` (n,), ``.view`` (n,);
        ``data['view', 'augmentation', 'view'].edge_index``; and with ``affinity_k``
        ``data['view', 'affinity', 'view'].edge_index`` and ``.edge_weight`` (cosine similarity).

    Raises:
        ValueError: if n is not a multiple of ``num_views``, or k is not smaller than n.
    """
    check_features("view_graph", x, real=True)
    size = rows_per_view("view_graph", x, num_views)
    if sample is None:
        sample = torch.arange(size, device=x.device)
    check_integers("view_graph", sample, size, "sample", "the index of each sample")
    data = HeteroData()
    data.num_views = num_views
    data["view"].x = x
    data["view"].sample = sample.repeat(num_views)
    data["view"].view = torch.arange(num_views, device=x.device).repeat_interleave(size)
    data[AUGMENTATION].edge_index = augmentation_edges(size, num_views, x.device)
    if affinity_k is not None:
        check_count(
            "view_graph", most=len(x) - 1, cure=f"a view of {len(x)} has {len(x) - 1} others", affinity_k=affinity_k
        )
        data[AFFINITY].edge_index, data[AFFINITY].edge_weight = knn_edges(x, affinity_k)
    return data
