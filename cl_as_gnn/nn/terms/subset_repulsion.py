from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.terms.negative_repulsion import NegativeRepulsion


class SubsetRepulsion(NegativeRepulsion):
    r"""Repulsion along part of the affinity graph.

    .. math::
        L = \frac1n \sum_i \log \sum_{k \in \mathcal{P}(i) \cup \mathcal{N}(i)} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{n \tau} (P + P^\top) X,

    :math:`\mathcal{P}(i)` the other nodes of the group of i, :math:`\mathcal{N}(i)` some nodes of other groups,
    :math:`P` the row softmax over both. The choice of the nodes is not differentiated.

    Args:
        temperature: :math:`\tau`.
        group: ``(n,)``, the sample of each view.
        part: ``"complete"``, all; ``"nearest"``, the k most similar; ``"random"``, k drawn anew at each call;
            ``"farther"``, all but the k most similar.
        k: number of nodes of other groups; at most as many as exist.
    """

    def __init__(self, temperature: float, group: Tensor, part: str = "complete", k: int = 0):
        if part not in ("complete", "nearest", "random", "farther"):
            raise ValueError(f"SubsetRepulsion: part is complete, nearest, random or farther, got {part!r}")
        super().__init__(temperature, group)
        self.part, self.k = part, k

    def left_out(self, similarity: Tensor, rows: Tensor) -> Tensor:
        own = super().left_out(similarity, rows)
        out = torch.zeros_like(own)
        if self.part != "complete":
            key = torch.rand_like(similarity) if self.part == "random" else similarity
            nearest = key.masked_fill(own, -math.inf).topk(min(self.k, key.size(1)), dim=1).indices
            picked = out.scatter(1, nearest, True)
            out = ~own & (picked if self.part == "farther" else ~picked)
        return out.scatter_(1, rows.unsqueeze(1), True)
