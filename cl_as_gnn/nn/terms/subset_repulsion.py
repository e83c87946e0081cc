from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.pair_term import PairTerm, row_softmax


class SubsetRepulsion(PairTerm):
    r"""Repulsion along part of the affinity graph.

    .. math::
        L = \frac1n \sum_i \log \sum_{k \in \mathcal{P}(i) \cup \mathcal{N}(i)} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} (P + P^\top) X,

    :math:`\mathcal{P}(i)` the other nodes of the group of i, :math:`\mathcal{N}(i)` some of the nodes of other groups,
    :math:`P` the row softmax over both. Which ones is not differentiated.

    Args:
        temperature: :math:`\tau`.
        group: ``(n,)``, the sample of each view.
        part: ``"complete"``, all; ``"nearest"``, the k most similar; ``"random"``, k drawn anew at each call;
            ``"farther"``, all but the k most similar.
        k: ``k`` or more nodes of other groups are all of them if there are no more.
    """

    def __init__(self, temperature: float, group: Tensor, part: str = "complete", k: int = 0):
        if part not in ("complete", "nearest", "random", "farther"):
            raise ValueError(f"SubsetRepulsion: part is complete, nearest, random or farther, got {part!r}")
        self.temperature, self.group, self.part, self.k = temperature, group, part, k

    def _left_out(self, similarity: Tensor, own: Tensor) -> Tensor:
        """Which nodes of other groups each row does not repel."""
        if self.part == "complete":
            return torch.zeros_like(own)
        key = torch.rand_like(similarity) if self.part == "random" else similarity
        key = key.masked_fill(own, -math.inf)
        picked = torch.zeros_like(own).scatter_(1, key.topk(min(self.k, key.size(1)), dim=1).indices, True)
        return ~own & (picked if self.part == "farther" else ~picked)

    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        n = similarity.size(1)
        own = self.group[rows].unsqueeze(1) == self.group
        out = self._left_out(similarity, own).scatter_(1, rows.unsqueeze(1), True)
        lse, share = row_softmax(similarity.div_(self.temperature).masked_fill_(out, -math.inf))
        return lse.sum() / n, share.div_(n * self.temperature)
