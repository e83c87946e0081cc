from __future__ import annotations

import torch
from torch import Tensor


class PowerAlignment:
    r"""Attraction by a power of the distance, the alignment of `Wang & Isola 2020 <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{w}{E} \sum_{j \to i} \lVert x_i - x_j \rVert^\alpha, \qquad
        m_i = \frac{\alpha w}{E} \sum_j (n_{ij} + n_{ji}) \lVert x_i - x_j \rVert^{\alpha - 2} (x_j - x_i),

    the sum over all E edges, :math:`n_{ij}` the edges :math:`j \to i`: a graph convolution whose weights, for
    :math:`\alpha \neq 2`, depend on the distance.

    Args:
        edge_index: positive pairs, ``(2, E)``.
        power: :math:`\alpha \ge 1`.
        weight: w.
    """

    def __init__(self, edge_index: Tensor, power: float = 2.0, weight: float = 1.0):
        self.edge_index, self.power, self.weight = edge_index, power, weight

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = self.edge_index
        gap = x[source] - x[target]
        square = gap.square().sum(1)
        scale = self.weight / max(1, source.numel())
        factor = square.clamp(min=torch.finfo(x.dtype).tiny).pow(self.power / 2 - 1)
        pull = (self.power * scale) * factor.unsqueeze(1) * gap
        message = torch.zeros_like(x).index_add_(0, target, pull).index_add_(0, source, pull, alpha=-1)
        return scale * (factor * square).sum(), message
