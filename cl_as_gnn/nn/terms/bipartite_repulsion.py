from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms.base import Term, ends, total_weight


class BipartiteRepulsion(Term):
    r"""Repulsion of the targets from a set of sources, along the row softmax of their similarity.

    .. math::
        L = \frac1W \sum_i \rho_i \log \sum_j e^{x_i \cdot y_j / \tau}, \qquad
        \text{message to } X = -\frac{1}{W \tau} R P Y, \quad
        \text{message to } Y = -\frac{1}{W \tau} P^\top R X,

    with :math:`R = \mathrm{diag}(\rho)` and :math:`W = \sum_i \rho_i`.

    Args:
        source: features :math:`Y` ``(m, d)`` of other nodes, which get no message (a queue); or the number m of the
            first rows of ``x`` that are the sources, all others being the targets.
        temperature: :math:`\tau`.
        row_weight: :math:`\rho`, one for each target; all ones by default.
        chunk: targets visited at a time.
    """

    def __init__(
        self, source: Tensor | int, temperature: float, row_weight: Tensor | None = None, chunk: int | None = None
    ):
        self.source, self.temperature, self.row_weight, self.chunk = source, temperature, row_weight, chunk

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = ends(x, self.source)
        weight = None if self.row_weight is None else self.row_weight.to(x.dtype)
        lse, to_target, to_source = softmax_bipartite(target, source, self.temperature, weight, chunk=self.chunk)
        total = target.size(0) if weight is None else total_weight(weight)
        value = lse.mean() if weight is None else (weight * lse).sum() / total
        repelled = to_target if isinstance(self.source, Tensor) else torch.cat([to_source, to_target])
        return value, repelled.div_(-self.temperature * total)
