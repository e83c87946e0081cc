from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.base import Term


class ChannelCorrelation(Term):
    r"""Attraction and repulsion between channels, `Barlow Twins <https://arxiv.org/abs/2103.03230>`_: each channel
    attracts itself in the other view and repels the other channels.

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
