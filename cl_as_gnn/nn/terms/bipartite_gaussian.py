from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import gaussian_pairs
from cl_as_gnn.nn.terms.base import Term, ends


class BipartiteGaussian(Term):
    r"""Repulsion between two sets of nodes along a Gaussian kernel, normalized once over all their pairs.

    .. math::
        L = \log \frac{1}{m (n - m)} \sum_{ij} Q_{ij}, \quad Q_{ij} = e^{-t \lVert x_i - y_j \rVert^2}, \qquad
        m_i = 2 t \, \frac{\sum_j Q_{ij} (x_i - y_j)}{\mathbf{1}^\top Q \mathbf{1}},

    with messages both ways along every edge.

    Args:
        num_sources: m; the first m rows of ``x`` are :math:`Y`, all others :math:`X`.
        t: t.
        chunk: rows visited at a time.
    """

    def __init__(self, num_sources: int, t: float = 2.0, chunk: int | None = None):
        self.num_sources, self.t, self.chunk = num_sources, t, chunk

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = ends(x, self.num_sources)
        value, to_source, to_target = gaussian_pairs(source, target, self.t, chunk=self.chunk)
        return value - math.log(source.size(0) * target.size(0)), torch.cat([to_source, to_target]) * (2 * self.t)
