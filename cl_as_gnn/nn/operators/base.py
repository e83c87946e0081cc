from __future__ import annotations

from typing import Protocol

from torch import Tensor


class LinearOperator(Protocol):
    """A fixed weighted graph as a map on features: ``matmul`` is A·x, ``t_matmul`` is its transpose, Aᵀ·x."""

    def matmul(self, x: Tensor) -> Tensor:
        """Each target receives from its sources."""

    def t_matmul(self, x: Tensor) -> Tensor:
        """Each source receives from its targets."""

    @property
    def row_sum(self) -> Tensor:
        """Total weight arriving at each target."""
