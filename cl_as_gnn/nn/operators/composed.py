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


class LiftToViews:
    r"""A graph of samples lifted to their views: all views of a neighbor share its weight equally.

    For a graph :math:`T` of :math:`B` samples with :math:`V` views each, nodes view-major,
    :math:`A = \frac{1}{V} \mathbf{1}\mathbf{1}^\top \otimes T`: average over the views,
    apply :math:`T`, copy the result to each view.
    """

    def __init__(self, graph: LinearOperator, num_views: int):
        self.graph = graph
        self.num_views = num_views

    def _mean(self, x: Tensor) -> Tensor:
        return x.view(self.num_views, -1, x.size(1)).mean(0)

    def matmul(self, x: Tensor) -> Tensor:
        return self.graph.matmul(self._mean(x)).repeat(self.num_views, 1)

    def t_matmul(self, x: Tensor) -> Tensor:
        return self.graph.t_matmul(self._mean(x)).repeat(self.num_views, 1)

    @property
    def row_sum(self) -> Tensor:
        return self.graph.row_sum.repeat(self.num_views)
