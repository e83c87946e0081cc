from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.base import Term


class ChannelSpread(Term):
    r"""Variance and covariance of `VICReg <https://arxiv.org/abs/2105.04906>`_: each channel keeps a standard deviation
    of one, and channels repel each other.

    .. math::
        L = \frac{\mu}{V d} \sum_{v, k} \max(0, 1 - \sigma^v_k) + \frac{2 \nu}{V d} \sum_v \sum_{k \neq l} (C^v_{kl})^2,
        \qquad
        m^v = \frac{\mu}{V d (B - 1)} \bar X^v \mathrm{diag}\Big( \frac{[\sigma_k < 1]}{\sigma_k} \Big)
        - \frac{8 \nu}{V d (B - 1)} \bar X^v \mathrm{off}(C^v),

    :math:`\bar X` centred, :math:`\sigma = \sqrt{\mathrm{Var} + 10^{-4}}`, C the covariance. A node moves away from the
    mean (uniform negative edges) in each channel with :math:`\sigma < 1`, and away from correlated channels.

    Args:
        variance: :math:`\mu`.
        covariance: :math:`\nu`.
        num_views: V; nodes are view-major.
    """

    def __init__(self, variance: float, covariance: float, num_views: int):
        self.variance, self.covariance, self.num_views = variance, covariance, num_views

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.view(self.num_views, -1, x.size(1))
        scale, degrees = 1 / (self.num_views * x.size(1)), max(1, views.size(1) - 1)
        centred = views - views.mean(1, keepdim=True)
        covariance = centred.transpose(1, 2) @ centred / degrees
        variance = covariance.diagonal(dim1=1, dim2=2)
        spread = (variance + 1e-4).sqrt()
        off = covariance - torch.diag_embed(variance)
        value = self.variance * (1 - spread).relu().sum() + 2 * self.covariance * off.square().sum()
        stretch = torch.diag_embed(self.variance * (spread < 1) / spread)
        message = centred @ (stretch - 8 * self.covariance * off)
        return scale * value, (scale / degrees) * message.reshape_as(x)
