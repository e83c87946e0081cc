from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming.tiles import strips
from cl_as_gnn.nn.terms.base import Term


class PowerAlignment(Term):
    r"""Attraction by a power of the distance, the alignment of `Wang & Isola 2020 <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{w}{\sum a} \sum_{j \to i} a_{ij} \lVert x_i - x_j \rVert^\alpha, \qquad
        m_i = \frac{\alpha w}{\sum a} \sum_j (a_{ij} + a_{ji}) \lVert x_i - x_j \rVert^{\alpha - 2} (x_j - x_i),

    a graph convolution whose weights, for :math:`\alpha \neq 2`, depend on the distance. Messages flow both ways along
    every edge, and equal nodes send nothing.

    Args:
        edge_index: positive pairs, ``(2, E)``.
        power: :math:`\alpha > 0`.
        weight: w.
        edge_weight: a, ``(E,)``; ones by default.
        chunk: number of edges per strip; by the memory of the device by default.
    """

    def __init__(
        self,
        edge_index: Tensor,
        power: float = 2.0,
        weight: float = 1.0,
        edge_weight: Tensor | None = None,
        chunk: int | None = None,
    ):
        self.edge_index, self.power, self.weight = edge_index, power, weight
        self.edge_weight, self.chunk = edge_weight, chunk

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        share = x.new_ones(self.edge_index.size(1)) if self.edge_weight is None else self.edge_weight.to(x.dtype)
        share = share * (self.weight / share.sum().clamp(min=torch.finfo(x.dtype).tiny))
        value, message = x.new_zeros(()), torch.zeros_like(x)
        for edges, _ in strips((share.numel(), x.size(1)), x, self.chunk, tensors=2):
            (source, target), part = self.edge_index[:, edges], share[edges]
            gap = x[source] - x[target]
            square = gap.square().sum(1)
            value += (part * square.pow(self.power / 2)).sum()
            slope = torch.where(square > 0, square, 1).pow(self.power / 2 - 1)
            gap *= (self.power * part * slope).unsqueeze(1)
            message.index_add_(0, target, gap).index_add_(0, source, gap, alpha=-1)
        return value, message
