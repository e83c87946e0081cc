from __future__ import annotations

from torch import Tensor

from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms.base import Term


class LinearRepulsion(Term):
    r"""Repulsion along the graph of raw inner products: linear attention in :math:`O(n d^2)`, without a softmax, from
    the `spectral contrastive loss <https://arxiv.org/abs/2106.04156>`_.

    .. math::
        L = \frac{w}{V (V - 1) B (B - 1)} \sum_{a \neq b} \sum_{i \neq j} (x^a_i \cdot x^b_j)^2, \qquad
        \text{message to view } a \propto -4 \, X^a \sum_{b \neq a} (X^b)^\top X^b,

    without the pairs of one sample (:math:`i = j`), which are subtracted along the augmentation edges.

    Args:
        edge_index: augmentation edges, all ordered pairs of views of a sample, ``(2, E)``.
        num_views: V; nodes are view-major.
        weight: w.
    """

    def __init__(self, edge_index: Tensor, num_views: int, weight: float = 1.0):
        self.edge_index, self.num_views, self.weight = edge_index, num_views, weight

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.view(self.num_views, -1, x.size(1))
        count = self.edge_index.size(1) * max(1, views.size(1) - 1)
        moment = views.transpose(1, 2) @ views
        others = moment.sum(0) - moment
        source, target = self.edge_index
        own = (x[source] * x[target]).sum(1)
        value = (moment * others).sum() - own.square().sum()
        message = (views @ others).view_as(x) - Adjacency(self.edge_index, own, x.size(0)).matmul(x)
        scale = self.weight / count
        return scale * value, -4 * scale * message
