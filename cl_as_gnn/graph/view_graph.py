"""A minibatch of views as a PyG graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.knn import knn_edges
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION
from cl_as_gnn.nn.checks import check_count, check_features, check_integers, expects
from cl_as_gnn.nn.edges import augmentation_edges


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
