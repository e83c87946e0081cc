from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.terms.base import Term


class ChannelDecorrelation(Term):
    r"""Invariance of views and decorrelation of the channels of each, `CCA-SSG <https://arxiv.org/abs/2106.12484>`_.

    .. math::
        L = \frac{1}{2 B} \, \mathbb{E}_{a \neq b} \lVert X^a - X^b \rVert_F^2
          + \frac{2 \lambda}{V} \sum_v \lVert C^v - I \rVert_F^2, \quad C^v = \tfrac1B (X^v)^\top X^v, \qquad
        m^a = \frac{2}{B V} (\bar X^{\neq a} - X^a) - \frac{8 \lambda}{B V} X^a (C^a - I),

    :math:`\bar X^{\neq a}` the mean of the other views: each node is attracted to its other views, and within a view
    each channel repels the others by their correlation (and itself, while its variance exceeds 1).

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
        # Σ over ordered pairs of ½‖xa − xb‖² is −Σ xa · (mean of the others − xa) for V (V − 1) of them.
        value = -(views * gap).sum() / (size * self.num_views)
        correlation = views.transpose(1, 2) @ views / size
        correlation.diagonal(dim1=1, dim2=2).sub_(1)
        scale = 2 * self.decorrelation / self.num_views
        value = value + scale * correlation.square().sum()
        message = gap * (2 / (size * self.num_views)) - (views @ correlation) * (4 * scale / size)
        return value, message.reshape_as(x)
