"""Contrastive losses as modules, with the calls of other libraries; all pairs are streamed, in memory linear in n."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cl_as_gnn.nn.checks import (
    Got,
    check_device,
    check_features,
    check_flag,
    check_integers,
    check_number,
    check_positive,
    expects,
    shape_of,
)
from cl_as_gnn.nn.distributed import gather_views
from cl_as_gnn.nn.edges import augmentation_edges
from cl_as_gnn.nn.functional import nt_xent, spectral_contrastive_loss
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, BipartiteRepulsion, LogisticPairs, PairContrast, objective
from cl_as_gnn.nn.unit import unit_rows


def view_major(name: str, views: dict[str, Tensor], gather: bool) -> tuple[Tensor, int]:
    """Views of one shape ``(B, d)``, of all ranks if ``gather``, as ``(V·B, d)``; and V."""
    if len(views) < 2:
        raise expects(name, "views", "as two tensors or more", Got(f"{len(views)}"), "pass each as an argument")
    first = next(iter(views.values()))
    for key, z in views.items():
        check_features(name, z, key)
        if z.size(0) == 0:
            raise expects(name, key, "with one row or more", z)
        if z.shape != first.shape:
            got = Got(", ".join(map(shape_of, views.values())))
            raise expects(name, key, "in the shape (B, d) of the other views", got)
    check_device(name, first, **views)
    x = torch.cat(tuple(views.values()))
    return (gather_views(x, len(views)) if gather else x), len(views)


def numbered(views: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The views under the names that errors call them by."""
    return {f"views[{i}]": z for i, z in enumerate(views)}


def _same_label(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Edges between all rows of one label, ``(2, E)``, in memory linear in E; and how many others each row has."""
    _, group, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    members, start = group.argsort(), sizes.cumsum(0) - sizes
    own, row = sizes[group], torch.arange(len(labels), device=labels.device)
    target = row.repeat_interleave(own)
    place = torch.arange(len(target), device=labels.device) - (own.cumsum(0) - own)[target]
    source = members[start[group[target]] + place]
    apart = source != target
    return torch.stack([source[apart], target[apart]]), own - 1


def _labeled(name: str, embeddings: Tensor, labels: Tensor, gather: bool) -> tuple[Tensor, Tensor]:
    """Rows ``(n, d)`` and labels ``(n,)``, of all ranks if ``gather``."""
    check_features(name, embeddings, "embeddings")
    check_integers(name, labels, len(embeddings))
    check_device(name, embeddings, labels=labels)
    return (gather_views(embeddings), gather_views(labels)) if gather else (embeddings, labels)


class NTXentLoss(nn.Module):
    r"""NT-Xent of `SimCLR <https://arxiv.org/abs/2002.05709>`_, called as ``lightly.loss.NTXentLoss``.

    :func:`~cl_as_gnn.nn.functional.nt_xent` with the views of a sample as its positives: with
    :math:`z_i = x_i / \lVert x_i \rVert`,

    .. math::
        L = -\frac{1}{n (V - 1)} \sum_i \sum_{j \in \mathcal{P}(i)}
            \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{k \neq i} e^{z_i \cdot z_k / \tau}} .

    Its messages attract along the augmentation graph and repel along the softmax over all other views.

    Args:
        temperature: :math:`\tau > 0`.
        gather_distributed: contrast with the views of all ranks; each holds equally many. The loss is then that of the
            global batch, and under DDP, which averages gradients, so is its gradient.
    """

    def __init__(self, temperature: float = 0.5, gather_distributed: bool = False):
        super().__init__()
        check_positive("NTXentLoss", temperature=temperature)
        check_flag("NTXentLoss", gather_distributed=gather_distributed)
        self.temperature, self.gather_distributed = temperature, gather_distributed

    def forward(self, *views: Tensor) -> Tensor:
        """The loss of two or more views ``(B, d)``, row s of each of the same sample; ValueError for other shapes."""
        x, num_views = view_major("NTXentLoss", numbered(views), self.gather_distributed)
        return nt_xent(x, augmentation_edges(len(x) // num_views, num_views, x.device), self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, gather_distributed={self.gather_distributed}"


class SpectralContrastiveLoss(nn.Module):
    """:func:`~cl_as_gnn.nn.functional.spectral_contrastive_loss` of the views of samples, in O(n d²).

    Args:
        mu: as there.
        gather_distributed: as in :class:`NTXentLoss`.
    """

    def __init__(self, mu: float = 1.0, gather_distributed: bool = False):
        super().__init__()
        check_positive("SpectralContrastiveLoss", mu=mu)
        check_flag("SpectralContrastiveLoss", gather_distributed=gather_distributed)
        self.mu, self.gather_distributed = mu, gather_distributed

    def forward(self, *views: Tensor) -> Tensor:
        """The loss of two or more views ``(B, d)``, row s of each of the same sample; ValueError for other shapes."""
        x, num_views = view_major("SpectralContrastiveLoss", numbered(views), self.gather_distributed)
        return spectral_contrastive_loss(x, augmentation_edges(len(x) // num_views, num_views, x.device), self.mu)

    def extra_repr(self) -> str:
        return f"mu={self.mu}, gather_distributed={self.gather_distributed}"


class SupConLoss(nn.Module):
    r"""The supervised loss of `SupCon <https://arxiv.org/abs/2004.11362>`_, called as in ``pytorch_metric_learning``.

    .. math::
        L = -\frac{1}{n'} \sum_i \frac{1}{|\mathcal{P}(i)|} \sum_{j \in \mathcal{P}(i)}
            \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{k \neq i} e^{z_i \cdot z_k / \tau}},

    :math:`\mathcal{P}(i)` the other rows of the label of i. The n' rows that have such others are anchors; the rest
    only repel. Memory is linear in n and in the number of pairs of one label.

    Args:
        temperature: :math:`\tau > 0`.
        gather_distributed: as in :class:`NTXentLoss`.
    """

    def __init__(self, temperature: float = 0.1, gather_distributed: bool = False):
        super().__init__()
        check_positive("SupConLoss", temperature=temperature)
        check_flag("SupConLoss", gather_distributed=gather_distributed)
        self.temperature, self.gather_distributed = temperature, gather_distributed

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of rows ``(n, d)`` with integer labels ``(n,)``; 0 if no two rows have one label.

        Raises:
            ValueError: the shapes differ.
        """
        embeddings, labels = _labeled("SupConLoss", embeddings, labels, self.gather_distributed)
        edges, others = _same_label(labels)
        if edges.size(1) == 0:
            return (embeddings * 0).sum()
        return nt_xent(embeddings, edges, self.temperature, edge_weight=1 / others[edges[1]])

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, gather_distributed={self.gather_distributed}"


class PairNTXentLoss(nn.Module):
    r"""NT-Xent with several positives, each against the negatives alone.

    The loss is that of :class:`~cl_as_gnn.nn.terms.PairContrast` on unit rows, and that of ``NTXentLoss`` in
    ``pytorch_metric_learning``. In :class:`SupConLoss` the other positives of an anchor stand in the denominator, so
    that they repel it.

    Args:
        temperature: :math:`\tau > 0`.
        gather_distributed: as in :class:`NTXentLoss`.
    """

    def __init__(self, temperature: float = 0.1, gather_distributed: bool = False):
        super().__init__()
        check_positive("PairNTXentLoss", temperature=temperature)
        check_flag("PairNTXentLoss", gather_distributed=gather_distributed)
        self.temperature, self.gather_distributed = temperature, gather_distributed

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of rows ``(n, d)`` with integer labels ``(n,)``, 0 if no two rows have one label; ValueError if the
        shapes differ."""
        embeddings, labels = _labeled("PairNTXentLoss", embeddings, labels, self.gather_distributed)
        return objective(unit_rows(embeddings), PairContrast(self.temperature, labels))

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, gather_distributed={self.gather_distributed}"


class CLIPLoss(nn.Module):
    r"""The loss of `CLIP <https://arxiv.org/abs/2103.00020>`_ between two encoders, with a learned temperature.

    With unit rows u, v of the two and :math:`\kappa = e^{\text{log\_scale}}`,

    .. math::
        L = -\frac{1}{2B} \sum_i \Big[ \log \frac{e^{\kappa u_i \cdot v_i}}{\sum_k e^{\kappa u_i \cdot v_k}}
            + \log \frac{e^{\kappa u_i \cdot v_i}}{\sum_k e^{\kappa u_k \cdot v_i}} \Big] .

    The two softmax matrices are streamed; messages flow along both, and the slope of :math:`\kappa` comes with them.

    Args:
        temperature: the initial :math:`1 / \kappa`.
        max_scale: :math:`\kappa` is at most this, as in the paper.
        gather_distributed: as in :class:`NTXentLoss`.

    Attributes:
        log_scale: :math:`\log \kappa`, a parameter: give it to the optimizer, without weight decay.
    """

    def __init__(self, temperature: float = 0.07, max_scale: float = 100.0, gather_distributed: bool = False):
        super().__init__()
        check_positive("CLIPLoss", temperature=temperature, max_scale=max_scale)
        check_flag("CLIPLoss", gather_distributed=gather_distributed)
        self.max_scale, self.gather_distributed = max_scale, gather_distributed
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of paired rows ``(B, d)`` of the two encoders; ValueError for other shapes."""
        x, _ = view_major("CLIPLoss", {"first": first, "second": second}, self.gather_distributed)
        size = len(x) // 2
        u, v = unit_rows(x.float() if x.dtype != torch.float64 else x).chunk(2)
        # A scaled side lets the temperature of the terms be 1, so that the slope of the scale follows from theirs.
        u = u * self.log_scale.exp().clamp(max=self.max_scale).to(u.dtype)
        pairs = Adjacency(torch.arange(size, device=x.device).expand(2, -1), None, (size, size))
        parts = (
            objective(torch.cat(both), Attraction(pairs, 1.0, size), BipartiteRepulsion(size, 1.0))
            for both in ((v, u), (u, v))
        )
        return sum(parts, u.new_zeros(())) / 2

    def extra_repr(self) -> str:
        return f"max_scale={self.max_scale}, gather_distributed={self.gather_distributed}"


class SigLIPLoss(nn.Module):
    r"""The sigmoid loss of `SigLIP <https://arxiv.org/abs/2303.15343>`_ between two encoders.

    Scale and bias are learned:

    .. math::
        L = -\frac1B \sum_{ij} \log \sigma\big(y_{ij} (t \, u_i \cdot v_j + b)\big), \qquad
        y_{ij} = 1 \text{ if } i = j, \text{ else } -1,

    by :class:`~cl_as_gnn.nn.terms.LogisticPairs`: every pair is a decision of its own, no softmax normalizes a row.

    Args:
        scale: initial t.
        bias: initial b.
        gather_distributed: as in :class:`NTXentLoss`.

    Attributes:
        log_scale: :math:`\log t`, a parameter; ``bias``: b, a parameter.
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0, gather_distributed: bool = False):
        super().__init__()
        check_positive("SigLIPLoss", scale=scale)
        check_number("SigLIPLoss", bias=bias)
        check_flag("SigLIPLoss", gather_distributed=gather_distributed)
        self.gather_distributed = gather_distributed
        self.log_scale, self.bias = nn.Parameter(torch.tensor(math.log(scale))), nn.Parameter(torch.tensor(bias))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of paired rows ``(B, d)`` of the two encoders; ValueError for other shapes."""
        x, _ = view_major("SigLIPLoss", {"first": first, "second": second}, self.gather_distributed)
        x = unit_rows(x.float() if x.dtype != torch.float64 else x)
        return objective(x, LogisticPairs(self.log_scale, self.bias, 2))

    def extra_repr(self) -> str:
        return f"gather_distributed={self.gather_distributed}"
