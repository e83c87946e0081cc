from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch
from cl_as_gnn.nn.terms.base import Term
from cl_as_gnn.nn.terms.pair_term import _STRIP


def gaussian_pairs(
    query: Tensor, key: Tensor | None, t: float, batch: Tensor | None = None, chunk: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Log-sum of a Gaussian kernel over all pairs, and the messages that its gradient sends, in one pass.

    .. math::
        \ell = \log \sum_{ij} Q_{ij}, \quad Q_{ij} = e^{-t \lVert q_i - k_j \rVert^2}, \qquad
        m_i = e^{-\ell} \sum_j Q_{ij} (q_i - k_j) .

    Args:
        query: ``(n, d)``.
        key: ``(m, d)``; none for the queries themselves, each of them left out of its own sum.
        t: t.
        batch: graph of each query ``(n,)``, only without a key: nodes of different graphs make no pair.
        chunk: rows visited at a time.

    Returns:
        :math:`\ell`, the messages to the queries and those to the keys, so that
        :math:`\partial \ell / \partial q_i = -2 t \, m_i`, and twice that where the queries are the keys.
    """
    check_batch(batch, query.size(0))
    order = first = last = None
    if batch is not None:
        order = torch.argsort(batch, stable=True)
        size = torch.bincount(batch)
        query, batch = query[order], batch[order]
        last = size.cumsum(0)[batch]
        first = last - size[batch]
    other = query if key is None else key
    square, length = other.square().sum(1), query.square().sum(1)
    least = torch.finfo(query.dtype).min
    peak, total = query.new_full((), least), query.new_zeros(())
    # Every row is kept relative to the largest exponent that was known when it was visited.
    known, to_query, to_key = torch.empty_like(length), torch.empty_like(query), torch.zeros_like(other)
    chunk = chunk or max(1, _STRIP // max(other.size(0), 1))
    for rows in torch.arange(query.size(0), device=query.device).split(chunk):
        # Sorted by graph, a strip meets only the columns from its first graph to its last.
        start, stop = (0, None) if first is None or last is None else (int(first[rows[0]]), int(last[rows[-1]]))
        column = other[start:stop]
        kernel = (query[rows] @ column.t()).mul_(2).sub_(square[start:stop]).sub_(length[rows].unsqueeze(1))
        kernel.mul_(t)
        if batch is not None:
            kernel.masked_fill_(batch[rows].unsqueeze(1) != batch[start:stop], -math.inf)
        if key is None:
            kernel.scatter_(1, (rows - start).unsqueeze(1), -math.inf)
        before, peak = peak, torch.maximum(peak, kernel.max())
        kernel.sub_(peak).exp_()
        degree = kernel.sum(1)
        total = total * (before - peak).exp() + degree.sum()
        to_query[rows] = degree.unsqueeze(1) * query[rows] - kernel @ column
        known[rows] = peak
        if key is not None:
            to_key.mul_((before - peak).exp()).addcmul_(kernel.sum(0).unsqueeze(1), column)
            to_key.addmm_(kernel.t(), query[rows], alpha=-1)
    total.clamp_(min=torch.finfo(query.dtype).tiny)
    to_query.mul_(((known - peak).exp() / total).unsqueeze(1))
    if order is not None:
        to_query = torch.empty_like(to_query).index_copy_(0, order, to_query)
    return peak + total.log(), to_query, to_query if key is None else to_key / total


class GaussianRepulsion(Term):
    r"""Repulsion along a Gaussian kernel normalized once for the whole graph, the uniformity of `Wang & Isola 2020
    <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{w}{V} \sum_v \log \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} Q^v_{ij}, \quad
        Q_{ij} = e^{-t \lVert x_i - x_j \rVert^2}, \qquad
        \text{message} = \frac{4 w t}{V} \, \frac{(\mathrm{diag}(Q \mathbf{1}) - Q) X}{\mathbf{1}^\top Q \mathbf{1}},

    :math:`\mathcal{N}` the pairs of different nodes of one view number: a Laplacian run backwards, with one global
    degree.

    Args:
        t: t.
        num_views: V; nodes are view-major.
        weight: w.
        batch: graph of each node, with one view: only pairs of one graph count.
        chunk: rows visited at a time.
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
        size = x.new_full((1,), x.size(0)) if self.batch is None else torch.bincount(self.batch).to(x.dtype)
        pairs = (size * (size - 1)).sum().clamp(min=1)
        return value - pairs.log(), message * (4 * self.t)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            parts = [self._view(part) for part in x.chunk(self.num_views)]
        scale = self.weight / self.num_views
        return scale * torch.stack([p[0] for p in parts]).sum(), scale * torch.cat([p[1] for p in parts])
