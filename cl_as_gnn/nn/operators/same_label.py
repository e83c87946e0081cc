from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class SameLabel:
    r"""The graph that joins all nodes of one label, rows summing to one, as a linear operator in :math:`O(n d)`.

    .. math::
        A_{ij} = \frac{[y_i = y_j, \, i \neq j]}{|\{k \neq i : y_k = y_i\}|} .

    A node whose label is unique gets no edge. No edges are stored: sums by label suffice.

    Args:
        label: ``(n,)`` integers.
    """

    def __init__(self, label: Tensor):
        # The numbering of torch.unique, for which the host would have to wait on a GPU.
        ordered, order = label.sort()
        rank = F.pad(ordered.diff() != 0, (1, 0)).cumsum(0)
        self.group = torch.empty_like(rank).scatter_(0, order, rank)
        self.count = torch.zeros_like(rank).scatter_add_(0, rank, torch.ones_like(rank))

    def matmul(self, x: Tensor) -> Tensor:
        total = x.new_zeros(self.count.numel(), x.size(1)).index_add_(0, self.group, x)
        others = (self.count - 1)[self.group].clamp(min=1).to(x.dtype)
        out: Tensor = (total[self.group] - x) / others.unsqueeze(1) * self.row_sum.to(x.dtype).unsqueeze(1)
        return out

    def t_matmul(self, x: Tensor) -> Tensor:
        """The same as :meth:`matmul`: nodes of one label have one degree, so that A is symmetric."""
        return self.matmul(x)

    @property
    def row_sum(self) -> Tensor:
        out: Tensor = (self.count > 1)[self.group].to(torch.get_default_dtype())
        return out
