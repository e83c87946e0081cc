from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.operators.base import LinearOperator
from cl_as_gnn.nn.streaming.tiles import strips
from cl_as_gnn.nn.terms.base import Source, Term, ends, total_weight


class Attraction(Term):
    r"""Linear attraction of the targets to the sources, along a graph of positives.

    .. math::
        L = -\frac{1}{W\tau} \sum_{j \to i} a_{ij}\, x_i \cdot y_j, \qquad
        \text{message to } X = \frac{1}{W\tau} A Y, \quad \text{message to } Y = \frac{1}{W\tau} A^\top X,

    with :math:`W = \sum_{ij} a_{ij}`. If :math:`Y = X`, the nodes get the sum, :math:`(A + A^\top) X / (W\tau)`.
    Messages flow along the edges and, if the sources are trained, back along them.

    Args:
        graph: the operator :math:`A`.
        temperature: :math:`\tau`.
        source: fixed features :math:`Y`, which get no message (a bank, a stop-gradient target); or the number m of
            sources, the first m rows of ``x``, with the targets after them. By default :math:`Y = X`.
        total: :math:`W`, a scalar, if several terms share one; by default the sum of the weights.
    """

    def __init__(
        self, graph: LinearOperator, temperature: float = 1.0, source: Source = None, total: Tensor | None = None
    ):
        self.graph, self.temperature, self.source, self.total = graph, temperature, source, total

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = ends(x, self.source)
        aggregated = self.graph.matmul(source)
        total = total_weight(self.graph.row_sum.to(x.dtype)) if self.total is None else self.total
        scale = self.temperature * total
        value = -(target * aggregated).sum() / scale
        if isinstance(self.source, Tensor):
            return value, aggregated / scale
        back = self.graph.t_matmul(target)
        message = aggregated + back if self.source is None else torch.cat([back, aggregated])
        return value, message.div_(scale)


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
        self.edge_index, self.power, self.weight, self.chunk = edge_index, power, weight, chunk
        self.edge_weight = edge_weight

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
