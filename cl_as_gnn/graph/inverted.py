"""Nearest rows among many through inverted lists: a row lies in the list of its center, a query looks into a few."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.unit import unit_rows

PROBES = 32
"""Lists that a query looks into: the recall is then 0.98 or more (docs/scaling.md)."""
_SAMPLE, _ROUNDS = 32, 8  # rows per center from which it is learned, and rounds of k-means


def list_count(n: int) -> int:
    """Number of lists for n rows: 2 √n, at most one per row."""
    return min(n, round(2 * math.sqrt(n)))


def centers(x: Tensor) -> Tensor:
    """Centers of the lists of unit rows ``(n, d)``: spherical k-means on evenly spaced rows, the same every time."""
    count = list_count(len(x))
    sample = x[torch.linspace(0, len(x) - 1, min(len(x), _SAMPLE * count), device=x.device).long()].float()
    center = sample[torch.linspace(0, len(sample) - 1, count, device=x.device).long()]
    for _ in range(_ROUNDS):
        center = unit_rows(torch.zeros_like(center).index_add_(0, listed(sample, center), sample) + 1e-3 * center)
    return center


def listed(x: Tensor, center: Tensor) -> Tensor:
    """The list of each row ``(n,)``: that of its nearest center."""
    parts = [(part.float() @ center.T).argmax(1) for part in x.split(4096)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long, device=x.device)


def search_lists(
    key: Tensor, query: Tensor, k: int, center: Tensor, place: Tensor, probes: int = PROBES
) -> tuple[Tensor, Tensor]:
    """The k keys of largest inner product with each query among those in its nearest lists, as ``knn.search``.

    Each list is compared at once with all queries that look into it. A query whose lists hold fewer than k keys gets
    similarity −∞ and position 0 for the rest.

    Args:
        key: unit rows ``(m, d)``.
        query: unit rows ``(n, d)``.
        k: keys for each query.
        center: of the lists ``(L, d)``.
        place: the list of each key ``(m,)``.
        probes: lists that a query looks into.
    """
    key, query, probes = key.float(), query.float(), min(probes, len(center))
    asked = torch.cat([(part @ center.T).topk(probes, dim=1).indices for part in query.split(4096)]).flatten()
    similarity = query.new_full((len(asked), k), -torch.inf)
    index = torch.zeros(len(asked), k, dtype=torch.long)
    rows, seats = (_by_list(lists, len(center)) for lists in (place, asked))
    for row, seat in zip(rows, seats, strict=True):
        if len(row) and len(seat):
            found, at = (query[seat // probes] @ key[row].T).topk(min(k, len(row)), dim=1)
            similarity[seat, : at.size(1)], index[seat, : at.size(1)] = found, row[at]
    best, at = similarity.view(len(query), -1).topk(k, dim=1)
    return best, index.view(len(query), -1).gather(1, at)


def _by_list(lists: Tensor, count: int) -> tuple[Tensor, ...]:
    """Positions of each list."""
    sizes: list[int] = torch.bincount(lists, minlength=count).tolist()
    return tuple(torch.split(lists.argsort(stable=True), sizes))


def nearest_by_lists(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """About the k nearest other rows of each unit row, ``(similarity, index)``, as ``knn.nearest``; −∞ as above."""
    center = centers(x)
    similarity, index = search_lists(x, x, k + 1, center, listed(x, center))
    own = index == torch.arange(len(x)).unsqueeze(1)
    order = torch.arange(k) + own[:, :k].cumsum(1)
    return similarity.gather(1, order), index.gather(1, order)
