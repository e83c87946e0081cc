"""What deserves a second look: labels that the graph contradicts, near copies, and images far from all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.evaluation.propagation import propagate, shares
from cl_as_gnn.graph.knn import nearest

FOLDS = 5
_COPY = 0.05  # of the usual distance to the nearest image
_FAR = 3.0  # quartile distances


def crossed_out(graph: Tensor, labels: Tensor, count: int, seed: int = 0) -> Tensor:
    """What the graph says of each given label while it is hidden: the shares of the classes.

    The labeled rows are split into five parts, alike in their classes; each is hidden in turn and the others are
    propagated.

    Args:
        graph: sparse ``(n, n)``, as :func:`~cl_as_gnn.evaluation.affinity_graph` makes it.
        labels: int64 ``(n,)``, −1 where unknown.
        count: number of classes C.
        seed: of the parts.

    Returns:
        ``(n, C)``; rows of unknown labels, and of classes with a single label, are zero.
    """
    known = (labels >= 0).nonzero().view(-1)
    shuffled = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))]
    ordered = shuffled[labels[shuffled].argsort(stable=True)]
    fold = torch.full_like(labels, -1)
    fold[ordered] = torch.arange(len(ordered)) % FOLDS
    sizes = torch.bincount(labels[known], minlength=count)
    fold[known[sizes[labels[known]] < 2]] = -1  # nothing would remain of its class
    hot = F.one_hot(labels.clamp(min=0), count).float() * (labels >= 0).unsqueeze(1)
    given = torch.stack([hot * (fold != part).unsqueeze(1) for part in range(FOLDS)], 1)
    spread = shares(propagate(graph, given.flatten(1)).view_as(given))
    out: Tensor = torch.zeros_like(hot)
    tested = (fold >= 0).nonzero().view(-1)
    out[tested] = spread[tested, fold[tested]]
    return out


def duplicates(x: Tensor) -> Tensor:
    """For each row of unit features ``(n, d)`` the row that it nearly copies, −1 if there is none: ``(n,)``.

    A pair is a near copy if its distance is below a twentieth of the median distance to the nearest row.
    """
    similarity, index = (values.squeeze(1) for values in nearest(x, 1))
    distance = (2 - 2 * similarity).clamp(min=0).sqrt()
    return torch.where(distance < _COPY * distance.median(), index, -1)


def outliers(x: Tensor, k: int) -> Tensor:
    """Which rows of unit features ``(n, d)`` lie far from all others: ``(n,)`` bool.

    Far: the mean distance to the k nearest rows exceeds its third quartile by more than three times the distance of
    the quartiles (Tukey).
    """
    similarity, _ = nearest(x, min(k, len(x) - 1))
    distance = (2 - 2 * similarity).clamp(min=0).sqrt().mean(1)
    low, high = distance.quantile(0.25), distance.quantile(0.75)
    return distance > high + _FAR * (high - low)
