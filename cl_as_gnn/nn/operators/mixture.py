from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.operators.base import LinearOperator


class Mixture:
    r"""Weighted sum of two graphs on the same nodes; a node without edges in the second receives from the first alone.

    .. math::
        A = \mathrm{diag}(1 - \lambda r) A_0 + \lambda A_1, \qquad r_i = \sum_j (A_1)_{ij} .

    Args:
        first: :math:`A_0`.
        second: :math:`A_1`, with row sums of 0 or 1.
        weight: :math:`\lambda` between 0 and 1; a scalar tensor is not checked, so that the host does not
            wait for the device.
    """

    def __init__(self, first: LinearOperator, second: LinearOperator, weight: float | Tensor):
        if not isinstance(weight, Tensor) and not 0 <= weight <= 1:
            raise ValueError(f"Mixture expects a weight between 0 and 1, got {weight}")
        self.first, self.second, self.weight = first, second, weight
        self._rest = (1 - weight * second.row_sum).unsqueeze(1)

    def matmul(self, x: Tensor) -> Tensor:
        return self._rest * self.first.matmul(x) + self.weight * self.second.matmul(x)

    def t_matmul(self, x: Tensor) -> Tensor:
        return self.first.t_matmul(self._rest * x) + self.weight * self.second.t_matmul(x)

    @property
    def row_sum(self) -> Tensor:
        return self._rest.squeeze(1) * self.first.row_sum + self.weight * self.second.row_sum
