from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows, total
from cl_as_gnn.nn.terms.base import Term

_STRIP = 2**21  # entries of one strip of similarities


class PairTerm(Term):
    r"""Base of the losses of all pairwise inner products, streamed in strips of rows.

    .. math::
        L = \sum_i \ell_i(s_{i1}, \dots, s_{in}), \quad s_{ij} = x_i \cdot x_j, \qquad
        \text{message} = -(G + G^\top) X, \quad G_{ij} = \partial \ell_i / \partial s_{ij} .

    A subclass gives :math:`\ell` and :math:`G` of a strip in :meth:`strip`; no :math:`n \times n` tensor is kept.

    Where ``own`` is set (``x`` was gathered from several ranks), each rank does the strips of its own rows, and value
    and message are summed over the ranks.
    """

    own: LocalRows | None = None

    @abstractmethod
    def strip(self, similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Loss of the strip's rows (a scalar), its slope (like ``similarity``), then slopes of learned parameters.

        Args:
            similarity: ``(r, n)`` of the rows with all nodes; may be overwritten.
            rows: their indices, ``(r,)``.
        """

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        n = x.size(0)
        sums: list[Tensor] = []
        gradient = torch.zeros_like(x)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            index = torch.arange(n, device=x.device) if self.own is None else self.own.index(n, x.device)
            for rows in index.split(max(1, _STRIP // n)):
                value, slope, *rest = self.strip(x[rows] @ x.t(), rows)
                gradient[rows] += slope @ x
                gradient.addmm_(slope.t(), x[rows])
                sums = [a + b for a, b in zip(sums, [value, *rest], strict=True)] if sums else [value, *rest]
            if self.own is not None:
                gradient, sums = total(gradient), [total(part) for part in sums]
        return sums[0], -gradient, *(-part for part in sums[1:])


def row_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log-partition and softmax of each row; a row of −∞ alone has partition 1 and weights 0."""
    lse = logits.logsumexp(1)
    lse = lse.masked_fill(lse.isinf(), 0)
    return lse, (logits - lse.unsqueeze(1)).exp()
