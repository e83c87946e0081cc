from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms.base import Term


class FixedRepulsion(Term):
    r"""Repulsion from nodes that do not move (a queue), along the row softmax of similarity to them.

    .. math::
        L = \frac1n \sum_i \log \sum_q e^{x_i \cdot y_q / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} P Y .

    Args:
        source: :math:`Y`, ``(K, d)``.
        temperature: :math:`\tau`.
    """

    def __init__(self, source: Tensor, temperature: float):
        self.source, self.temperature = source, temperature

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lse, pull, _ = softmax_bipartite(x, self.source.to(x.dtype), self.temperature)
        return lse.mean(), -pull / (self.temperature * x.size(0))
