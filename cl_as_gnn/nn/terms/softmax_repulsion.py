from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows
from cl_as_gnn.nn.streaming import softmax_all_pairs, softmax_local_rows
from cl_as_gnn.nn.terms.base import Term, total_weight


class SoftmaxRepulsion(Term):
    r"""Repulsion along the complete affinity graph, the partition function of every softmax loss.

    .. math::
        L = \frac{1}{W} \sum_i \rho_i \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{W \tau} (RP + P^\top R) X,

    with :math:`R = \mathrm{diag}(\rho)`, :math:`W = \sum_i \rho_i` and :math:`P` the row softmax without self-loops.
    With :math:`\rho` the row sums of the attraction, the two together are the cross-entropy of InfoNCE.

    Args:
        temperature: :math:`\tau`.
        row_weight: :math:`\rho` ``(n,)``; all ones by default.
        unit: the rows have unit length.
        batch: graph of each node ``(n,)``; nodes of different graphs do not repel each other.
        total: :math:`W`, a scalar, where several terms share one; by default the sum of :math:`\rho`.
        tile: side of the tiles, see :func:`~cl_as_gnn.nn.streaming.softmax_all_pairs`.
        own: rows of this rank, where ``x`` was gathered from several; the message to all other rows is zero.

    Under autocast to bfloat16 the products run in bfloat16.
    """

    autocast: ClassVar[bool] = True

    def __init__(
        self,
        temperature: float,
        row_weight: Tensor | None = None,
        *,
        unit: bool = True,
        batch: Tensor | None = None,
        total: Tensor | None = None,
        tile: int | None = None,
        own: LocalRows | None = None,
    ):
        if batch is not None and own is not None:
            raise ValueError("SoftmaxRepulsion expects batch or own, not both: pass batch=None or own=None")
        self.temperature, self.row_weight, self.unit = temperature, row_weight, unit
        self.batch, self.total, self.tile, self.own = batch, total, tile, own

    def _pairs(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.own is None:
            return softmax_all_pairs(x, self.temperature, weight, self.batch, unit=self.unit, tile=self.tile)
        index = self.own.index(x.size(0), x.device)
        lse, repelled = softmax_local_rows(x, index, self.own.join, self.temperature, weight, unit=self.unit)
        return lse, torch.zeros_like(x).index_copy_(0, index, repelled.to(x.dtype))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight = x.new_ones(x.size(0)) if self.row_weight is None else self.row_weight.to(x.dtype)
        lse, repelled = self._pairs(x, weight)
        total = total_weight(weight) if self.total is None else self.total
        partition = weight * lse
        if self.batch is not None or x.size(0) < 2:
            # A node that is alone in its graph has no negatives and no partition function.
            partition = partition.masked_fill(lse == -math.inf, 0)
        return partition.sum() / total, repelled.div_(-self.temperature * total)
