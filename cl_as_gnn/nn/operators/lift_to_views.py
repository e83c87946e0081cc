from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.operators.base import LinearOperator


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
