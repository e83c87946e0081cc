"""Rewiring transforms on the graph of a minibatch of views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import scatter

from cl_as_gnn.graph.affinity import knn_edges
from cl_as_gnn.graph.bank import FeatureQueue


def sample_prototypes(x: Tensor, num_views: int) -> Tensor:
    """Mean over the views of each sample of the unit features ``(V·B, d)``, renormalised: ``(B, d)``, no gradient."""
    unit = F.normalize(x.detach().float(), dim=1)
    return F.normalize(unit.view(num_views, -1, x.size(1)).mean(0), dim=1)


def view_similarity(x: Tensor, num_views: int) -> Tensor:
    """Mean cosine similarity between two different views of one sample, a scalar; ``x`` is ``(V·B, d)``, view-major."""
    unit = F.normalize(x.detach().float(), dim=1).view(num_views, -1, x.size(1))
    # |Σ_v z_v|² counts every ordered pair of views, and each view with itself.
    pairs = unit.sum(0).square().sum(1) - num_views
    return pairs.mean() / (num_views * (num_views - 1))


@functional_transform("sample_affinity")
class SampleAffinity(BaseTransform):  # type: ignore[misc]
    r"""Add the kNN affinity graph of the samples of a minibatch, found by faiss over their mean views.

    Adds nodes ``'sample'`` (``.x``: the prototypes, ``(B, d)``) and edges ``('sample', 'affinity', 'sample')`` from
    each sample's k nearest others (row 0) to the sample (row 1), with ``.edge_weight`` the row softmax of the cosine
    similarities,

    .. math::
        W_{ij} = \frac{r_{ij} \, e^{\cos(x_i, x_j) / T}}{\sum_{k \in \mathrm{kNN}(i)} r_{ik} \, e^{\cos(x_i, x_k) / T}},
        \qquad r_{ij} = [\, \cos(x_i, x_j) \ge \rho \,] .

    With ``within_views`` the radius :math:`\rho` is the mean cosine similarity between two views of one sample in the
    batch: a neighbour counts if it is as near as an augmentation would be. That needs no label, and tells pure
    neighbourhoods from chance ones. Without it every neighbour counts. An edge that does not count keeps its place with
    weight 0, so that nothing waits for the device; a sample without any has no row.

    Args:
        k: neighbours a sample; a batch of k or fewer samples uses all of them.
        temperature: T of the row softmax.
        within_views: count only neighbours within the radius of the augmentations.
        backend: of :func:`cl_as_gnn.graph.knn_edges`.
    """

    def __init__(self, k: int = 5, temperature: float = 0.2, within_views: bool = False, backend: str = "auto"):
        self.k, self.temperature, self.within_views, self.backend = k, temperature, within_views, backend

    def forward(self, data: HeteroData) -> HeteroData:
        num_views = int(data.num_views)
        prototypes = sample_prototypes(data["view"].x, num_views)
        size = prototypes.size(0)
        data["sample"].x = prototypes
        if size < 2:
            edge_index = torch.empty(2, 0, dtype=torch.long, device=prototypes.device)
            weight = prototypes.new_empty(0)
        else:
            edge_index, similarity = knn_edges(prototypes, min(self.k, size - 1), self.backend)
            weight = ((similarity - 1) / self.temperature).exp()
            if self.within_views:
                weight = weight * (similarity >= view_similarity(data["view"].x, num_views))
            total = scatter(weight, edge_index[1], dim_size=size, reduce="sum")
            weight = weight / total.clamp(min=torch.finfo(weight.dtype).tiny)[edge_index[1]]
        data["sample", "affinity", "sample"].edge_index = edge_index
        data["sample", "affinity", "sample"].edge_weight = weight
        return data

    def __repr__(self) -> str:
        inside = ", within_views=True" if self.within_views else ""
        return f"{type(self).__name__}(k={self.k}, temperature={self.temperature}{inside})"


@functional_transform("neighbour_positives")
class NeighbourPositives(BaseTransform):  # type: ignore[misc]
    """Rewire each positive edge to the nearest neighbours of the positive in a bank, as in NNCLR.

    Adds nodes ``'neighbour'`` (``.x``: bank rows, one set for every view) and edges
    ``('neighbour', 'rewired', 'view')``: for each augmentation edge j → i, from the k nearest bank rows of j (row 0)
    to the view i (row 1), ``.edge_weight`` summing to one a view. Views whose neighbours are not known yet (a bank that
    is not full) get no edge.

    Args:
        bank: where neighbours are looked up; the caller fills it.
        k: neighbours a positive.
    """

    def __init__(self, bank: FeatureQueue, k: int = 1):
        self.bank, self.k = bank, k

    def forward(self, data: HeteroData) -> HeteroData:
        view = data["view"]
        unit = F.normalize(view.x.detach().float(), dim=1)
        features, _, known = self.bank.nearest(unit, self.k)
        n = unit.size(0)
        positive, anchor = data["view", "augmentation", "view"].edge_index
        node = torch.arange(n * self.k, device=unit.device).view(n, self.k)
        source, target = node[positive].flatten(), anchor.repeat_interleave(self.k)
        weight = known.to(unit.dtype)[positive].flatten()
        total = torch.zeros(n, device=unit.device, dtype=unit.dtype).index_add_(0, target, weight)
        data["neighbour"].x = features.flatten(0, 1)
        data["neighbour", "rewired", "view"].edge_index = torch.stack([source, target])
        data["neighbour", "rewired", "view"].edge_weight = weight / total.clamp(min=1)[target]
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, bank={self.bank.features.size(0)})"
