from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.operators.base import LinearOperator
from cl_as_gnn.nn.terms.base import Source, Term, ends, total_weight


class Attraction(Term):
    r"""Linear attraction of the targets to the sources, along a graph of positives.

    .. math::
        L = -\frac{1}{W\tau} \sum_{j \to i} a_{ij}\, x_i \cdot y_j, \qquad
        \text{message to } X = \frac{1}{W\tau} A Y, \quad \text{message to } Y = \frac{1}{W\tau} A^\top X,

    with :math:`W = \sum_{ij} a_{ij}`; where the nodes are both (:math:`Y = X`), they get the sum,
    :math:`(A + A^\top) X / (W\tau)`. Messages flow along the edges and, where the sources are trained, back along them.

    Args:
        graph: the operator :math:`A`.
        temperature: :math:`\tau`.
        source: features :math:`Y` of other nodes, which get no message (a bank, a stop-gradient target); or the number
            of the first rows of ``x`` that are the sources, all others being the targets. By default the nodes are
            both.
        total: :math:`W`, a scalar, where several terms share one; by default the sum of the weights.
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
