from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch
from cl_as_gnn.nn.streaming.tiles import strips


def gaussian_pairs(
    query: Tensor, key: Tensor | None, t: float, batch: Tensor | None = None, chunk: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Compute the log-sum of a Gaussian kernel over all pairs and the messages that its gradient sends, in one pass.

    .. math::
        \ell = \log \sum_{ij} Q_{ij}, \quad Q_{ij} = e^{-t \lVert q_i - k_j \rVert^2}, \qquad
        m_i = e^{-\ell} \sum_j Q_{ij} (q_i - k_j) .

    Args:
        query: ``(n, d)``.
        key: ``(m, d)``; with ``None`` the keys are the queries, and no node makes a pair with itself.
        t: t.
        batch: graph of each query ``(n,)``, only without a key: nodes of different graphs make no pair.
        chunk: number of rows per strip; by the memory of the device by default.

    Returns:
        :math:`\ell`, the messages to the queries and those to the keys, so that
        :math:`\partial \ell / \partial q_i = -2 t \, m_i`, and twice that where the queries are the keys.
    """
    check_batch("gaussian_pairs", batch, query)
    tiles = strips((query.size(0), (query if key is None else key).size(0)), query, chunk, batch=batch, tensors=2)
    query = tiles.sort(query)
    other = query if key is None else key
    square, length = other.square().sum(1), query.square().sum(1)
    peak, total = query.new_full((), torch.finfo(query.dtype).min), query.new_zeros(())
    # Each row is relative to the largest exponent known at its visit.
    known, to_query, to_key = torch.zeros_like(length), torch.zeros_like(query), torch.zeros_like(other)
    for rows, columns in tiles:
        column = other[columns]
        kernel = (query[rows] @ column.t()).mul_(2).sub_(square[columns]).sub_(length[rows].unsqueeze(1)).mul_(t)
        if key is None:
            tiles.mask(kernel, rows, columns, -math.inf)
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
    to_query = tiles.unsort(to_query.mul_(((known - peak).exp() / total).unsqueeze(1)))
    return peak + total.log(), to_query, to_query if key is None else to_key / total
