"""Losses of single methods as modules, for views of the same samples: one call of the terms of that method."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_as_gnn.nn.checks import check_features, check_flag, check_number, check_positive
from cl_as_gnn.nn.edges import augmentation_edges
from cl_as_gnn.nn.losses import numbered, view_major
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import (
    Attraction,
    ChannelCorrelation,
    ChannelSpread,
    NegativeRepulsion,
    PowerAlignment,
    hard_positives,
    objective,
)
from cl_as_gnn.nn.unit import unit_rows


class _ViewLoss(nn.Module):
    """A loss of two views or more, ``(B, d)`` each.

    Args:
        gather_distributed: as in :class:`~cl_as_gnn.nn.NTXentLoss`.
    """

    def __init__(self, gather_distributed: bool = False):
        super().__init__()
        check_flag(type(self).__name__, gather_distributed=gather_distributed)
        self.gather_distributed = gather_distributed

    def forward(self, *views: Tensor) -> Tensor:
        """The loss of two or more views ``(B, d)``, row s of each of the same sample; ValueError for other shapes."""
        x, num_views = view_major(type(self).__name__, numbered(views), self.gather_distributed)
        return self.loss(x if x.dtype == torch.float64 else x.float(), num_views)

    def loss(self, x: Tensor, num_views: int) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in vars(self).items() if key[0] != "_" and key != "training")


class BarlowTwinsLoss(_ViewLoss):
    """`Barlow Twins <https://arxiv.org/abs/2103.03230>`_, called as ``lightly.loss.BarlowTwinsLoss``.

    :class:`~cl_as_gnn.nn.terms.ChannelCorrelation` on channels that are standardized within each view.

    Args:
        off_diagonal: λ of the correlations between different channels.
        gather_distributed: as in :class:`~cl_as_gnn.nn.NTXentLoss`.
    """

    def __init__(self, off_diagonal: float = 5e-3, gather_distributed: bool = False):
        super().__init__(gather_distributed)
        check_number("BarlowTwinsLoss", off_diagonal=off_diagonal)
        self.off_diagonal = off_diagonal

    def loss(self, x: Tensor, num_views: int) -> Tensor:
        x = torch.cat([F.batch_norm(view, None, None, training=True) for view in x.chunk(num_views)])
        return objective(x, ChannelCorrelation(self.off_diagonal, num_views))


class VICRegLoss(_ViewLoss):
    """`VICReg <https://arxiv.org/abs/2105.04906>`_, called as ``lightly.loss.VICRegLoss``.

    The squared distance of the views and :class:`~cl_as_gnn.nn.terms.ChannelSpread`, on features as they are. It
    expects two samples or more.

    Args:
        invariance: λ of the distance between views.
        variance: μ of the hinge on the deviation of each channel.
        covariance: ν of the covariances of channels.
        gather_distributed: as in :class:`~cl_as_gnn.nn.NTXentLoss`.
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        gather_distributed: bool = False,
    ):
        super().__init__(gather_distributed)
        check_number("VICRegLoss", invariance=invariance, variance=variance, covariance=covariance)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def loss(self, x: Tensor, num_views: int) -> Tensor:
        edges = augmentation_edges(len(x) // num_views, num_views, x.device)
        distance = PowerAlignment(edges, 2.0, self.invariance / x.size(1))
        return objective(x, distance, ChannelSpread(self.variance, self.covariance, num_views))


class DCLLoss(_ViewLoss):
    r"""`Decoupled contrastive learning <https://arxiv.org/abs/2110.06848>`_, called as ``lightly.loss.DCLLoss``.

    NT-Xent whose positives are not in the denominator; with ``sigma``, DCLW, ``lightly.loss.DCLWLoss``: near positives
    weigh less (:func:`~cl_as_gnn.nn.terms.hard_positives`).

    Args:
        temperature: :math:`\tau > 0`.
        sigma: :math:`\sigma > 0` of DCLW, 0.5 in the paper; ``None`` for equal weights.
        gather_distributed: as in :class:`~cl_as_gnn.nn.NTXentLoss`.
    """

    def __init__(self, temperature: float = 0.1, sigma: float | None = None, gather_distributed: bool = False):
        super().__init__(gather_distributed)
        check_positive("DCLLoss", temperature=temperature, sigma=1.0 if sigma is None else sigma)
        self.temperature, self.sigma = temperature, sigma

    def loss(self, x: Tensor, num_views: int) -> Tensor:
        x, size = unit_rows(x), len(x) // num_views
        edges = augmentation_edges(size, num_views, x.device)
        weight = None if self.sigma is None else hard_positives(x.detach(), edges, num_views, self.sigma)
        attraction = Attraction(Adjacency(edges, weight, len(x)), self.temperature)
        group = torch.arange(size, device=x.device).repeat(num_views)
        return objective(x, attraction, NegativeRepulsion(self.temperature, group))


class SimSiamLoss(nn.Module):
    r"""The loss of `SimSiam <https://arxiv.org/abs/2011.10566>`_ and BYOL, minus the cosine to fixed targets.

    .. math::
        L = -\frac1B \sum_i \cos(p_i, \mathrm{sg}(z_i)),

    as ``lightly.loss.NegativeCosineSimilarity``, with the gradient to z stopped here. BYOL's squared distance of unit
    vectors is :math:`2 + 2 L`.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of predictions and targets ``(B, d)``, paired by row; ValueError for other shapes."""
        check_features("SimSiamLoss", target, "target")
        x, _ = view_major("SimSiamLoss", {"prediction": prediction, "target": target.detach()}, gather=False)
        p, z = unit_rows(x).chunk(2)
        size = len(p)
        pairs = Adjacency(torch.arange(size, device=p.device).expand(2, -1), None, (size, size))
        return objective(p, Attraction(pairs, source=z))
