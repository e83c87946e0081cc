from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import gaussian_pairs
from cl_as_gnn.nn.terms.base import Term


class GaussianRepulsion(Term):
    r"""Repulsion along a Gaussian kernel with one normalization for the whole graph, the uniformity of `Wang & Isola
    2020 <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{w}{V} \sum_v \log \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} Q^v_{ij}, \quad
        Q_{ij} = e^{-t \lVert x_i - x_j \rVert^2}, \qquad
        \text{message} = \frac{4 w t}{V} \, \frac{(\mathrm{diag}(Q \mathbf{1}) - Q) X}{\mathbf{1}^\top Q \mathbf{1}},

    :math:`\mathcal{N}` the pairs of different nodes of one view. The message is that of a graph Laplacian with the
    opposite sign.

    Args:
        t: t.
        num_views: V; nodes are view-major.
        weight: w.
        batch: graph of each node, for one view: only nodes of the same graph make a pair.
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
        self.t, self.num_views, self.weight = t, num_views, weight
        self.batch, self.chunk = batch, chunk

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
