from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import gaussian_pairs
from cl_as_gnn.nn.terms.base import Term, ends


class GaussianRepulsion(Term):
    r"""`Uniformity <https://arxiv.org/abs/2005.10242>`_: repulsion along a Gaussian kernel, normalized once per view.

    .. math::
        L = \frac{w}{V} \sum_v \log \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} Q^v_{ij}, \quad
        Q_{ij} = e^{-t \lVert x_i - x_j \rVert^2}, \qquad
        \text{message} = \frac{4 w t}{V} \, \frac{(\mathrm{diag}(Q \mathbf{1}) - Q) X}{\mathbf{1}^\top Q \mathbf{1}},

    :math:`\mathcal{N}` the pairs of different nodes of one view. The message is that of a graph Laplacian with the
    opposite sign.

    Args:
        t: scale of the squared distances.
        num_views: V; nodes are view-major.
        weight: w.
        batch: graph of each node, with one view only; only nodes of the same graph form a pair.
        chunk: number of rows per strip; by the memory of the device by default.
    """

    def __init__(
        self,
        t: float = 2.0,
        num_views: int = 1,
        weight: float = 1.0,
        batch: Tensor | None = None,
        chunk: int | None = None,
    ):
        self.t, self.num_views, self.weight, self.batch, self.chunk = t, num_views, weight, batch, chunk

    def _view(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, message, _ = gaussian_pairs(x, None, self.t, self.batch, self.chunk)
        size = x.new_full((1,), x.size(0))
        pairs = size * (size - 1)
        if self.batch is not None:
            graph = self.batch.sort().values  # Unlike bincount, a search does not make a GPU wait.
            size = torch.searchsorted(graph, graph, right=True) - torch.searchsorted(graph, graph)
            pairs = (size - 1).to(x.dtype)
        return value - pairs.sum().clamp(min=1).log(), message * (4 * self.t)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, messages = zip(*map(self._view, x.chunk(self.num_views)), strict=True)
        scale = self.weight / self.num_views
        return scale * torch.stack(values).sum(), scale * torch.cat(messages)


class BipartiteGaussian(Term):
    r"""Repulsion between two sets of nodes along a Gaussian kernel, normalized once over all their pairs.

    .. math::
        L = \log \frac{1}{m (n - m)} \sum_{ij} Q_{ij}, \quad Q_{ij} = e^{-t \lVert x_i - y_j \rVert^2}, \qquad
        m_i = 2 t \, \frac{\sum_j Q_{ij} (x_i - y_j)}{\mathbf{1}^\top Q \mathbf{1}},

    with messages both ways along every edge.

    Args:
        num_sources: m; the first m rows of ``x`` are :math:`Y`, all others :math:`X`.
        t: scale of the squared distances.
        chunk: number of rows per strip; by the memory of the device by default.
    """

    def __init__(self, num_sources: int, t: float = 2.0, chunk: int | None = None):
        self.num_sources, self.t, self.chunk = num_sources, t, chunk

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = ends(x, self.num_sources)
        value, to_source, to_target = gaussian_pairs(source, target, self.t, chunk=self.chunk)
        return value - math.log(source.size(0) * target.size(0)), torch.cat([to_source, to_target]) * (2 * self.t)


class MomentRepulsion(Term):
    r"""`TiCo <https://arxiv.org/abs/2206.10698>`_: repulsion along a fixed second moment of features, in O(n d²).

    .. math::
        L = \frac{w}{n} \sum_i x_i^\top C \, x_i, \qquad m_i = -\frac{2 w}{n} C x_i,

    linear attention from the nodes whose moment C is.

    Args:
        moment: C ``(d, d)``, symmetric; it gets no message.
        weight: w.
    """

    def __init__(self, moment: Tensor, weight: float = 1.0):
        self.moment, self.weight = moment, weight

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        received, scale = x @ self.moment.detach().to(x.dtype), self.weight / x.size(0)
        return scale * (x * received).sum(), -2 * scale * received


class LinearRepulsion(Term):
    r"""`Spectral contrastive loss <https://arxiv.org/abs/2106.04156>`_: repulsion by linear attention, in O(n d²).

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
