from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows, total
from cl_as_gnn.nn.streaming.tiles import strips
from cl_as_gnn.nn.terms.base import Term


class PairTerm(Term):
    r"""Base of the losses of all pairwise inner products, streamed in strips of rows.

    .. math::
        L = \sum_i \ell_i(s_{i1}, \dots, s_{in}), \quad s_{ij} = x_i \cdot x_j, \qquad
        \text{message} = -(G + G^\top) X, \quad G_{ij} = \partial \ell_i / \partial s_{ij} .

    A subclass computes :math:`\ell` and :math:`G` of a strip in :meth:`strip`. Messages flow both ways along every
    pair.

    With ``own`` (``x`` was gathered from several ranks) each rank visits the strips of its own rows, and the ranks add
    up value and message.
    """

    own: LocalRows | None = None

    @abstractmethod
    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Compute the loss of some rows (a scalar), its slope (like ``similarity``) and the slopes of ``learned``.

        Args:
            similarity: ``(r, n)`` of the rows with all nodes; may be overwritten.
            rows: their indices, ``(r,)``.
        """

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        n = x.size(0)
        index = torch.arange(n, device=x.device) if self.own is None else self.own.index(n, x.device)
        sums: list[Tensor] = []
        gradient = torch.zeros_like(x)
        for part, _ in strips((index.numel(), n), x, tensors=2):
            rows = index[part]
            value, slope, *rest = self.strip(x[rows] @ x.t(), rows)
            gradient[rows] += slope @ x
            gradient.addmm_(slope.t(), x[rows])
            sums = [a + b for a, b in zip(sums, [value, *rest], strict=True)] if sums else [value, *rest]
        if self.own is not None:
            gradient, sums = total(gradient), [total(part) for part in sums]
        return sums[0], -gradient, *(-part for part in sums[1:])


def row_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the log-partition and softmax of each row; 0 and zeros for a row of −∞."""
    lse = logits.logsumexp(1)
    lse = lse.masked_fill(lse.isinf(), 0)
    return lse, (logits - lse.unsqueeze(1)).exp()
