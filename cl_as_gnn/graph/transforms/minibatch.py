"""Edges between the samples of a minibatch: transforms of its graph of views, and edges of known purity."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import softmax

from cl_as_gnn.graph.knn import knn_edges, nearest
from cl_as_gnn.graph.memory import FeatureQueue
from cl_as_gnn.graph.schema import AUGMENTATION, REWIRED, SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms.stores import check_views
from cl_as_gnn.graph.view_graph import rows_per_view
from cl_as_gnn.nn.checks import (
    check_count,
    check_device,
    check_features,
    check_integers,
    check_positive,
    check_probability,
    expects,
)
from cl_as_gnn.nn.unit import unit_rows


def sample_prototypes(x: Tensor, num_views: int) -> Tensor:
    """Mean over the views of each sample of ``(V·B, d)``, view-major, renormalized: ``(B, d)``, no gradient."""
    check_features("sample_prototypes", x, real=True)
    size = rows_per_view("sample_prototypes", x, num_views)
    unit = unit_rows(x.detach())
    return unit_rows(unit.view(num_views, size, x.size(1)).mean(0))


def view_agreement(x: Tensor, num_views: int, k: int) -> Tensor:
    r"""Overlap of the nearest neighbors of the samples in two views, above chance: a scalar up to 1, no gradient.

    .. math::
        \frac{o - c}{1 - c}, \qquad o = \frac{1}{Bk} \sum_s |\mathrm{kNN}_a(s) \cap \mathrm{kNN}_b(s)|, \qquad
        c = \frac{k}{B - 1},

    :math:`\mathrm{kNN}_a(s)` the k samples whose view a is nearest to view a of sample s, o averaged over the pairs of
    views a ≠ b, c the value for random neighbors. Where features follow the augmentation instead of the image, the
    neighbors disagree.

    Args:
        x: features of the views, ``(V·B, d)``, view-major.
        num_views: V; of one view the result is 0.
        k: neighbors per sample; if these are all other samples, the result is 0.
    """
    check_features("view_agreement", x, real=True)
    check_count("view_agreement", k=k)
    size = rows_per_view("view_agreement", x, num_views)
    if k >= size - 1:
        return x.new_zeros((), dtype=torch.float32)
    return _agreement(_found(x, num_views, k))


def _found(x: Tensor, num_views: int, k: int) -> list[Tensor]:
    """For each view the k samples that are nearest to each sample, ``(B, k)``."""
    views = x.detach().float().reshape(num_views, x.size(0) // num_views, x.size(1))
    return [nearest(view, k)[1] for view in views]


def _agreement(found: list[Tensor]) -> Tensor:
    size, k = found[0].shape
    if len(found) < 2:
        return torch.zeros((), device=found[0].device)
    chance = k / (size - 1)
    common = [(a[:, :, None] == b[:, None, :]).sum() for a, b in combinations(found, 2)]
    overlap = torch.stack(common).float().mean() / (size * k)
    return (overlap - chance) / (1 - chance)


@functional_transform("sample_affinity")
class SampleAffinity(BaseTransform):  # type: ignore[misc]
    r"""Add the kNN affinity graph of the samples of a minibatch, exact, over their mean views.

    Adds nodes ``'sample'`` (``.x``: the prototypes, ``(B, d)``) and edges ``('sample', 'affinity', 'sample')`` from the
    k nearest others (row 0) to each sample (row 1), with ``.edge_weight`` the row softmax of the cosine similarities,

    .. math::
        W_{ij} = \frac{e^{\cos(x_i, x_j) / T}}{\sum_{k \in \mathrm{kNN}(i)} e^{\cos(x_i, x_k) / T}},

    and ``.agreement``, a label-free measure of their reliability: :func:`view_agreement`.

    Args:
        k: neighbors per sample; a batch of k or fewer samples uses all of them.
        temperature: T of the row softmax.
        agreed: whether an edge counts only where each view alone finds it, too: the others get weight 0, and a sample
            without such an edge has none.
    """

    def __init__(self, k: int = 5, temperature: float = 0.2, agreed: bool = False):
        check_count("SampleAffinity", k=k)
        check_positive("SampleAffinity", temperature=temperature)
        self.k, self.temperature, self.agreed = k, temperature, agreed

    def forward(self, data: HeteroData) -> HeteroData:
        check_views("SampleAffinity", data)
        num_views = int(data.num_views)
        prototypes = sample_prototypes(data["view"].x, num_views)
        data["sample"].x = prototypes
        edges, size = data[SAMPLE_AFFINITY], prototypes.size(0)
        if size < 2:
            edges.edge_index = torch.empty(2, 0, dtype=torch.long, device=prototypes.device)
            edges.edge_weight, edges.agreement = prototypes.new_empty(0), prototypes.new_zeros(())
            return data
        k = min(self.k, size - 1)
        edges.edge_index, similarity = knn_edges(prototypes, k)
        weight = softmax(similarity / self.temperature, edges.edge_index[1], num_nodes=size)
        edges.edge_weight, edges.agreement = weight, weight.new_zeros(())
        if k < size - 1:
            found = _found(data["view"].x, num_views, k)
            edges.agreement = _agreement(found)
            if self.agreed:
                edges.edge_weight = _agreed(edges.edge_index[0].view(size, k), weight.view(size, k), found).flatten()
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, temperature={self.temperature}, agreed={self.agreed})"


def _agreed(near: Tensor, weight: Tensor, found: list[Tensor]) -> Tensor:
    """The weights of the neighbors ``(B, k)`` that are also found from each view, summing to one or zero per row."""
    kept = [(near[:, :, None] == view[:, None, :]).any(2) for view in found]
    weight = weight * torch.stack(kept).all(0)
    return weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


@functional_transform("neighbor_positives")
class NeighborPositives(BaseTransform):  # type: ignore[misc]
    """Rewire each positive edge to the nearest neighbors of the positive in a bank, as in NNCLR.

    Adds nodes ``'neighbour'`` (``.x``: bank rows, k for every view; ``.sample``: their data-set index, −1 if the slot
    has never been written) and edges ``('neighbour', 'rewired', 'view')``: for each augmentation edge j → i, from the k
    nearest bank rows of j (row 0) to the view i (row 1). ``.edge_weight`` sums to one per view; edges from slots never
    written (a bank that is not full) have weight zero.

    Args:
        bank: the memory to search, filled by the caller.
        k: neighbors per positive.
    """

    def __init__(self, bank: FeatureQueue, k: int = 1):
        if not isinstance(bank, FeatureQueue):
            raise expects("NeighborPositives", "bank", "as a FeatureQueue", bank)
        check_count("NeighborPositives", k=k)
        self.bank, self.k = bank, k

    def forward(self, data: HeteroData) -> HeteroData:
        check_views("NeighborPositives", data)
        view = data["view"]
        unit = unit_rows(view.x.detach().float())
        features, _, sample = self.bank.nearest(unit, self.k)
        n = unit.size(0)
        positive, anchor = data[AUGMENTATION].edge_index
        node = torch.arange(n * self.k, device=unit.device).view(n, self.k)
        source, target = node[positive].flatten(), anchor.repeat_interleave(self.k)
        weight = (sample >= 0).to(unit.dtype)[positive].flatten()
        total = torch.zeros(n, device=unit.device, dtype=unit.dtype).index_add_(0, target, weight)
        data["neighbour"].x, data["neighbour"].sample = features.flatten(0, 1), sample.flatten()
        data[REWIRED].edge_index = torch.stack([source, target])
        data[REWIRED].edge_weight = weight / total.clamp(min=1)[target]
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, bank={self.bank.rows})"


def _draw(a: Tensor, b: Tensor) -> Tensor:
    """A pseudo-random number in [0, 1), a function of two integers."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA77 + 1) & 0xFFFFFFFF
    for factor in (0x7FEB352D, 0x46BA3C6D):
        x = ((x ^ (x >> 15)) * factor) & 0xFFFFFFFF
        x = x ^ (x >> 13)
    return x.double() / 2**32


@torch.no_grad()
def oracle_edges(label: Tensor, sample: Tensor, k: int, purity: float) -> tuple[Tensor, Tensor]:
    """Draw k edges into each sample, of which a known share joins samples of one label.

    A sample has ⌊k·purity⌋ or ⌈k·purity⌉ sources of its label, right on average, and else sources of other labels. The
    draw depends only on the pair of samples: as in a kNN graph, a wrong edge recurs whenever the two samples meet.

    Args:
        label: ``(B,)``; samples with a negative label have no edges.
        sample: index in the training set ``(B,)``, which determines the draws.
        k: edges per sample, at most the batch; edges that the batch lacks have weight 0, for a fixed number of edges.
        purity: from 0 to 1.

    Returns:
        ``edge_index`` ``(2, B·k)`` over positions in the batch, row 0 the sources, grouped by target; ``edge_weight``
        ``(B·k,)``, equal or 0 within a target, summing to one (to zero for a target without valid edges).
    """
    check_integers("oracle_edges", label, key="label", what="one of each sample")
    check_integers("oracle_edges", sample, len(label), "sample", "one of each label")
    check_device("oracle_edges", label, sample=sample)
    check_count("oracle_edges", k=k)
    check_probability("oracle_edges", purity=purity)
    size = label.numel()
    same = label.unsqueeze(1) == label
    labeled = (label >= 0).unsqueeze(1) & (label >= 0)
    others = ~torch.eye(size, dtype=torch.bool, device=label.device)
    order = _draw(sample.unsqueeze(1), sample)
    right = (k * purity + _draw(sample, torch.full_like(sample, -1))).floor().long().clamp(max=k)
    chosen = torch.zeros_like(same)
    for kind, count in ((same, right), (~same, k - right)):
        allowed = kind & labeled & others
        # The rank of each pair among the allowed pairs of its row.
        rank = order.masked_fill(~allowed, 2).argsort(1).argsort(1)
        chosen |= allowed & (rank < count.unsqueeze(1))
    source = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :k]
    weight = chosen.gather(1, source) / chosen.sum(1, keepdim=True).clamp(min=1)
    target = torch.arange(size, device=label.device).repeat_interleave(source.size(1))
    return torch.stack([source.flatten(), target]), weight.flatten()
