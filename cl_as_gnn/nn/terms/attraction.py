from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.operators.base import LinearOperator
from cl_as_gnn.nn.terms.base import Term, total_weight


class Attraction(Term):
    r"""Linear attraction along a graph of positives.

    .. math::
        L = -\frac{1}{W\tau} \sum_{ij} a_{ij}\, x_i \cdot y_j, \qquad
        \text{message} = \frac{1}{W\tau} (A + A^\top) X \;\; (y = x), \quad \frac{1}{W\tau} A Y \;\; (y \text{ fixed}),

    with :math:`W = \sum_{ij} a_{ij}`. Messages flow along the edges and, where the sources are trained themselves,
    back along them.

    Args:
        graph: the operator :math:`A`.
        temperature: :math:`\tau`.
        source: features :math:`Y` of other nodes (a bank, a stop-gradient target); the nodes themselves if not given.
        total: another :math:`W`, where several terms share one.
    """

    def __init__(
        self,
        graph: LinearOperator,
        temperature: float = 1.0,
        source: Tensor | None = None,
        total: float | None = None,
    ):
        self.graph, self.temperature, self.source, self.total = graph, temperature, source, total

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pulled = self.graph.matmul(x if self.source is None else self.source.detach().to(x.dtype))
        scale = self.temperature * total_weight(self.graph.row_sum.to(x.dtype), self.total)
        message = pulled if self.source is not None else pulled + self.graph.t_matmul(x)
        return -(x * pulled).sum() / scale, message / scale
