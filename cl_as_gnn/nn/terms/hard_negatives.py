from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows
from cl_as_gnn.nn.terms.pair_term import PairTerm, row_softmax


class HardNegatives(PairTerm):
    r"""InfoNCE with sharpened, debiased negatives, `Robinson et al. 2021 <https://arxiv.org/abs/2010.04592>`_.

    .. math::
        L = -\frac1n \sum_i \log \frac{e^{s_{i+}/\tau}}{e^{s_{i+}/\tau} + N_i}, \qquad
        N_i = \max\Big( \frac{R_i - \tau^+ N e^{s_{i+}/\tau}}{1 - \tau^+}, \; N e^{-1/\tau} \Big), \qquad
        R_i = N \, \frac{\sum_k e^{(1 + \beta) s_{ik}/\tau}}{\sum_k e^{\beta s_{ik}/\tau}},

    k over the N views of other samples: the authors' code. With :math:`Q_\beta` the row softmax at temperature
    :math:`\tau / \beta`, each row repels along :math:`(1 + \beta) Q_{1 + \beta} - \beta Q_\beta`. With V > 2 views the
    mean over the positives.

    Args:
        temperature: :math:`\tau`.
        beta: :math:`\beta \ge 0`; 0 leaves the debiased loss of `Chuang et al. 2020
            <https://arxiv.org/abs/2007.00224>`_.
        tau_plus: :math:`\tau^+`, the share of negatives that are of the anchor's class.
        num_views: V; nodes are view-major.
        own: rows of this rank, where nodes were gathered from several.
    """

    def __init__(self, temperature: float, beta: float, tau_plus: float, num_views: int, own: LocalRows | None = None):
        self.temperature, self.beta, self.tau_plus, self.num_views = temperature, beta, tau_plus, num_views
        self.own = own

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        n, top = similarity.size(1), 1 / self.temperature
        size = n // self.num_views
        negatives = n - self.num_views
        logits = similarity / self.temperature
        own = (torch.arange(n, device=rows.device) - rows.unsqueeze(1)) % size == 0
        high, sharp = row_softmax((logits * (1 + self.beta)).masked_fill_(own, -math.inf))
        low, flat = row_softmax((logits * self.beta).masked_fill_(own, -math.inf))
        # All exponentials are relative to e^(1/τ), the largest possible one.
        spread = negatives * (high - low - top).exp()
        floor = negatives * math.exp(-2 * top)
        value, to_spread, slope = logits.new_zeros(()), torch.zeros_like(spread), torch.zeros_like(logits)
        for shift in range(1, self.num_views):
            column = ((rows + shift * size) % n).unsqueeze(1)
            gap = logits.gather(1, column).squeeze(1) - top
            positive = gap.exp()
            debiased = (spread - self.tau_plus * negatives * positive) / (1 - self.tau_plus)
            active = (debiased > floor).to(logits.dtype)
            total = positive + debiased.clamp(min=floor)
            value += (total.log() - gap).sum()
            rate = active / (1 - self.tau_plus) / total
            to_spread += rate * spread
            to_positive = positive * (1 / total - self.tau_plus * negatives * rate) - 1
            slope.scatter_add_(1, column, to_positive.unsqueeze(1))
        slope += to_spread.unsqueeze(1) * ((1 + self.beta) * sharp - self.beta * flat)
        count = n * (self.num_views - 1)
        return value / count, slope / (count * self.temperature)
