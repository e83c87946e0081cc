from __future__ import annotations

import math

from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows
from cl_as_gnn.nn.terms.pair_term import PairTerm, row_softmax


class NegativeRepulsion(PairTerm):
    r"""Repulsion along the affinity graph without the positives, the decoupled softmax of `DCL
    <https://arxiv.org/abs/2110.06848>`_.

    .. math::
        L = \frac1n \sum_i \log \sum_{k : g_k \neq g_i} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} (P + P^\top) X,

    :math:`P` the row softmax over the nodes of other groups.

    Args:
        temperature: :math:`\tau`.
        group: :math:`g`, ``(n,)``: nodes of one group (the views of a sample) do not repel each other.
        own: rows of this rank, where nodes were gathered from several.
    """

    def __init__(self, temperature: float, group: Tensor, own: LocalRows | None = None):
        self.temperature, self.group, self.own = temperature, group, own

    def left_out(self, similarity: Tensor, rows: Tensor) -> Tensor:
        """Mask the nodes that each row does not repel."""
        return self.group[rows].unsqueeze(1) == self.group

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        out = self.left_out(similarity, rows)
        lse, share = row_softmax(similarity.div_(self.temperature).masked_fill_(out, -math.inf))
        n = similarity.size(1)
        return lse.sum() / n, share.div_(n * self.temperature)
