from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.base import Term


class ChannelCorrelation(Term):
    r"""`Barlow Twins <https://arxiv.org/abs/2103.03230>`_: channels attract themselves in the other view, repel others.

    .. math::
        L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \neq l} C_{kl}^2, \quad C = \tfrac1B (X^a)^\top X^b, \qquad
        m^a = \tfrac1B X^b R^\top, \;\; R = 2\,\mathrm{diag}(1 - C_{kk}) - 2 \lambda \, \mathrm{off}(C),

    for channels of mean 0 and variance 1 in each view; the mean over the pairs of views.

    Args:
        off_diagonal: :math:`\lambda`.
        num_views: V; nodes are view-major.
    """

    def __init__(self, off_diagonal: float, num_views: int):
        self.off_diagonal, self.num_views = off_diagonal, num_views

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.chunk(self.num_views)
        size, pairs = views[0].size(0), self.num_views * (self.num_views - 1) // 2
        value, parts = x.new_zeros(()), [torch.zeros_like(view) for view in views]
        for a, b in combinations(range(self.num_views), 2):
            correlation = views[a].t() @ views[b] / size
            gap = 1 - correlation.diagonal()
            off = correlation - torch.diag(correlation.diagonal())
            value += gap.square().sum() + self.off_diagonal * off.square().sum()
            mixing = torch.diag(2 * gap) - 2 * self.off_diagonal * off
            parts[a] += views[b] @ mixing.t()
            parts[b] += views[a] @ mixing
        return value / pairs, torch.cat(parts) / (size * pairs)


class ChannelDecorrelation(Term):
    r"""`CCA-SSG <https://arxiv.org/abs/2106.12484>`_: views attract, and the channels of a view repel each other.

    .. math::
        L = \frac{1}{2 B} \, \mathbb{E}_{a \neq b} \lVert X^a - X^b \rVert_F^2
          + \frac{2 \lambda}{V} \sum_v \lVert C^v - I \rVert_F^2, \quad C^v = \tfrac1B (X^v)^\top X^v, \qquad
        m^a = \frac{2}{B V} (\bar X^{\neq a} - X^a) - \frac{8 \lambda}{B V} X^a (C^a - I),

    :math:`\bar X^{\neq a}` the mean of the other views. The other views of a sample attract a node. Within a view each
    channel repels the others by their correlation, and itself while its variance exceeds 1.

    Args:
        decorrelation: :math:`\lambda`.
        num_views: V; nodes are view-major.
    """

    def __init__(self, decorrelation: float, num_views: int):
        self.decorrelation, self.num_views = decorrelation, num_views

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.view(self.num_views, -1, x.size(1))
        size = views.size(1)
        gap = (views.sum(0) - views) / (self.num_views - 1) - views
        # ½‖xa − xb‖², averaged over the ordered pairs, is −Σ xa · (mean of the other views − xa) / V.
        value = -(views * gap).sum() / (size * self.num_views)
        correlation = views.transpose(1, 2) @ views / size
        correlation.diagonal(dim1=1, dim2=2).sub_(1)
        scale = 2 * self.decorrelation / self.num_views
        value = value + scale * correlation.square().sum()
        message = gap * (2 / (size * self.num_views)) - (views @ correlation) * (4 * scale / size)
        return value, message.reshape_as(x)


class ChannelSpread(Term):
    r"""`VICReg <https://arxiv.org/abs/2105.04906>`_: channels keep a standard deviation of 1 and repel each other.

    .. math::
        L = \frac{\mu}{V d} \sum_{v, k} \max(0, 1 - \sigma^v_k) + \frac{2 \nu}{V d} \sum_v \sum_{k \neq l} (C^v_{kl})^2,
        \qquad
        m^v = \frac{\mu}{V d (B - 1)} \bar X^v \mathrm{diag}\Big( \frac{[\sigma_k < 1]}{\sigma_k} \Big)
        - \frac{8 \nu}{V d (B - 1)} \bar X^v \mathrm{off}(C^v),

    :math:`\bar X` centered, :math:`\sigma = \sqrt{\mathrm{Var} + 10^{-4}}`, C the covariance. A node moves away from
    the mean (uniform negative edges) in each channel with :math:`\sigma < 1`, and away from correlated channels.

    Args:
        variance: :math:`\mu`.
        covariance: :math:`\nu`.
        num_views: V; nodes are view-major.
    """

    def __init__(self, variance: float, covariance: float, num_views: int):
        self.variance, self.covariance, self.num_views = variance, covariance, num_views

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.view(self.num_views, -1, x.size(1))
        if views.size(1) < 2:
            raise ValueError(
                f"ChannelSpread (VICReg) expects two samples or more, got {views.size(1)}, of which no channel has a "
                "variance: raise the batch size"
            )
        scale, degrees = 1 / (self.num_views * x.size(1)), views.size(1) - 1
        centered = views - views.mean(1, keepdim=True)
        covariance = centered.transpose(1, 2) @ centered / degrees
        variance = covariance.diagonal(dim1=1, dim2=2)
        spread = (variance + 1e-4).sqrt()
        off = covariance - torch.diag_embed(variance)
        value = self.variance * (1 - spread).relu().sum() + 2 * self.covariance * off.square().sum()
        stretch = torch.diag_embed(self.variance * (spread < 1) / spread)
        message = centered @ (stretch - 8 * self.covariance * off)
        return scale * value, (scale / degrees) * message.reshape_as(x)
