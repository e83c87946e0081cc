"""Exact search among many wide rows: bounds in few dimensions leave few products to be made.

Features of an encoder lie near a subspace of few dimensions. With P the projection to r orthonormal directions, and
ρ(x) the distance of x from their span, Cauchy and Schwarz bound each product,

    x · y  ≤  Px · Py + ρ(x) ρ(y),

which is itself a product of r + 1 coordinates. A key whose bound is below the k-th largest product is not among the k
largest: no such key is lost, whatever the data, and only the number of products that remain depends on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_as_gnn.compat import quiet_sparse
from cl_as_gnn.graph.largest import largest

quiet_sparse()

# Multiplications of the whole product from which bounds are tried: those of a tenth of a second.
_LEAST_WORK, _LEAST_WIDTH = 2**33, 256
_MOST = 256  # directions
_SAMPLE, _ROUNDS = 4096, 2  # rows from which directions are found, and iterations
_QUERIES, _SERVED = 64, 0.9  # queries that are tried, and the share of them for which the first candidates shall do
# Measured costs, in multiplications of a large product: per key of a selection, per key and candidate of one, and of a
# multiplication of a single product.
_SELECT, _SELECT_EACH, _SINGLE = 20, 0.6, 30
_GAIN = 0.8  # share of the cost of the whole product below which bounds are used
_SHORT, _LONG = 1e-10, 1e10  # lengths whose squares lose nothing in float32


def _leading(x: Tensor, rank: int) -> Tensor:
    """Orthonormal directions ``(d, rank)`` in which the rows ``(n, d)`` are longest, in order: subspace iteration on
    evenly spaced rows, the same every time."""
    sample = x[torch.linspace(0, len(x) - 1, min(len(x), _SAMPLE)).long()]
    basis = torch.linalg.qr(sample[torch.linspace(0, len(sample) - 1, rank).long()].T).Q
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(sample.T @ (sample @ basis)).Q
    inside = sample @ basis
    turned: Tensor = basis @ torch.linalg.eigh(inside.T @ inside).eigenvectors.flip(1)
    return turned


class _Rows:
    """Rows ``(n, d)`` in the leading directions ``(d, r)``."""

    def __init__(self, x: Tensor, length: Tensor, basis: Tensor):
        self.length = length
        self.rounding = x.size(1) * torch.finfo(x.dtype).eps  # by how much a product of two unit rows can be off
        self.inside = x @ basis

    def outside(self, rank: int) -> Tensor:
        """Distance of each row from the span of the first directions, rounded up ``(n, 1)``."""
        inside = torch.linalg.vector_norm(self.inside[:, :rank], dim=1, keepdim=True)
        square = self.length.square()
        outside: Tensor = (square - inside.square()).clamp_(min=0) + self.rounding * square
        return outside.sqrt_()

    def coordinates(self, rank: int) -> Tensor:
        """The first coordinates and the distance from their span ``(n, rank + 1)``."""
        return torch.cat([self.inside[:, :rank], self.outside(rank)], dim=1)


@dataclass(frozen=True)
class Bounds:
    """Keys and queries in the coordinates whose products bound those of the rows.

    Attributes:
        key: coordinates of the keys ``(n, r + 1)``.
        query: those of the queries ``(m, r + 1)``.
        slack: what rounding may add to a bound, per query ``(m,)``.
        candidates: how many of the largest bounds of a query are looked at first.
    """

    key: Tensor
    query: Tensor
    slack: Tensor
    candidates: int


def find_bounds(key: Tensor, query: Tensor, k: int) -> Bounds | None:
    """The bounds that make the search for the k largest products cheapest, or ``None`` where the whole product is.

    The number of directions is chosen by the keys that their bounds leave to 64 of the queries.

    Args:
        key: rows to find ``(n, d)``.
        query: rows ``(m, d)``.
        k: how many are searched.
    """
    (n, d), m = key.shape, len(query)
    served = key.is_cpu and key.dtype in (torch.float32, torch.float64) and k < n // 32 and m > _QUERIES
    if not served or d < _LEAST_WIDTH or m * n * d < _LEAST_WORK:
        return None
    lengths = [torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (key, query)]
    if not all(((x == 0) | ((x > _SHORT) & (x < _LONG))).all() for x in lengths):
        return None
    most = min(_MOST, d // 4)
    basis = _leading(key, most)
    keys = _Rows(key, lengths[0], basis)
    queries = keys if query is key else _Rows(query, lengths[1], basis)
    some = torch.linspace(0, m - 1, _QUERIES).long()
    # A query may be one of the keys, and be left out.
    least = (query[some] @ key.T).topk(k + 1, dim=1).values[:, -1:]
    cost, best = _GAIN * (d + _SELECT + _SELECT_EACH * k), None
    for rank in (most // 4, most // 2, most):
        between = queries.outside(rank)[some] * keys.outside(rank).T
        bound = between.addmm_(queries.inside[some, :rank], keys.inside[:, :rank].T)
        left = (bound >= least).sum(1).double().quantile(_SERVED).item()
        candidates = max(2 * k, 16 * math.ceil(left / 16))
        this = rank + 1 + _SELECT + candidates * (_SELECT_EACH + _SINGLE * d / n)
        if candidates < n // 32 and this < cost:
            cost, best = this, (rank, candidates)
    if best is None:
        return None
    rank, candidates = best
    slack = 2 * keys.rounding * queries.length.squeeze(1) * keys.length.max()
    return Bounds(keys.coordinates(rank), queries.coordinates(rank), slack, candidates)


def _products(query: Tensor, key: Tensor, index: Tensor) -> Tensor:
    """The products of each query with its own keys ``(m, c)``, by index ``(m, c)``."""
    m, count = index.shape
    starts = torch.arange(0, m * count + 1, count)
    value = query.new_zeros(m * count)
    wanted = torch.sparse_csr_tensor(starts, index.flatten(), value, size=(m, len(key)), check_invariants=False)
    out: Tensor = torch.sparse.sampled_addmm(wanted, query, key.T, beta=0).values().view(m, count)
    return out


def top_of_bounds(
    bounds: Bounds, strip: Tensor, key: Tensor, query: Tensor, k: int, start: int
) -> tuple[Tensor, Tensor]:
    """The k largest products of each query and their indices, in any order.

    Where the k-th largest product of the candidates is below the least of their bounds, four times as many are looked
    at, and then all keys.

    Args:
        bounds: of all keys and queries.
        strip: bounds of these queries ``(q, ≥ n)``; −∞ for a key that is left out, and in further columns.
        key: all keys ``(n, d)``.
        query: these queries ``(q, d)``.
        k: how many.
        start: the number of the first of these queries among all.
    """
    slack = bounds.slack[start : start + len(query)]
    product, index = query.new_empty(len(query), k), torch.empty(len(query), k, dtype=torch.long)
    rows, part = torch.arange(len(query)), strip
    for candidates in (bounds.candidates, 4 * bounds.candidates):
        bound, found = largest(part, candidates)
        best, place = _products(query[rows], key, found).topk(k, dim=1, sorted=False)
        product[rows], index[rows] = best, found.gather(1, place)
        rows = rows[best.amin(1) < bound.amin(1) + slack[rows]]
        if not len(rows):
            return product, index
        part = strip[rows]
    left_out = part[:, : len(key)].isneginf()
    product[rows], index[rows] = (query[rows] @ key.T).masked_fill_(left_out, -math.inf).topk(k, dim=1)
    return product, index
