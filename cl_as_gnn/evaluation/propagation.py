"""Few labels along the kNN graph of frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import LabelPropagation
from torch_geometric.utils import is_torch_sparse_tensor, to_torch_csr_tensor, to_undirected

from cl_as_gnn.compat import quiet_sparse
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import _checks
from cl_as_gnn.evaluation.probes import draw_rows
from cl_as_gnn.graph.knn import nearest, search
from cl_as_gnn.nn.checks import check_count, check_features, check_probability, expects
from cl_as_gnn.nn.unit import unit_rows

quiet_sparse()

NEIGHBORS = 20
ALPHA = 0.99
STEPS = 100
_TEMPERATURE = 0.07  # of the kNN score
_CHUNK = 256
_COLUMNS = 32


def affinity_graph(x: Tensor, k: int = NEIGHBORS, temperature: float = _TEMPERATURE) -> Tensor:
    r"""The symmetric kNN graph of features, as a sparse matrix.

    .. math::
        A_{ij} = \big([j \in \mathcal{N}_k(i)] + [i \in \mathcal{N}_k(j)]\big) \exp\big((s_{ij} - 1) / T\big),

    with :math:`s_{ij}` the cosine similarity and :math:`\mathcal{N}_k(i)` the k most similar other rows.

    Args:
        x: features ``(n, d)``, n of at least 2.
        k: neighbors of each row, capped at n − 1.
        temperature: T of the weights.

    Returns:
        CSR matrix ``(n, n)``, on the device of ``x``.

    Raises:
        ValueError: ``x`` is no finite matrix of at least two rows.
    """
    _checks.count("affinity_graph", k=k)
    _checks.positive("affinity_graph", temperature=temperature)
    x = _checks.features("affinity_graph", x)
    if len(x) < 2:
        raise expects("affinity_graph", "x", "with two rows or more", x)
    similarity, index = nearest(x, min(k, len(x) - 1))
    target = torch.arange(len(x), device=x.device).repeat_interleave(index.size(1))
    weight = ((similarity.flatten() - 1) / temperature).exp()
    edges, weight = to_undirected(torch.stack([index.flatten(), target]), weight, len(x), reduce="add")
    graph: Tensor = to_torch_csr_tensor(edges, weight, size=(len(x), len(x)))
    return graph


@torch.no_grad()
def propagate(graph: Tensor, y: Tensor, alpha: float = ALPHA, steps: int = STEPS) -> Tensor:
    r"""Spread labels along a graph, Zhou et al., "Learning with Local and Global Consistency", NeurIPS 2003.

    .. math::
        F \leftarrow \alpha D^{-1/2} A D^{-1/2} F + (1 - \alpha) Y, \qquad
        F_i \leftarrow \alpha \sum_j \frac{A_{ij}}{\sqrt{d_i d_j}} F_j + (1 - \alpha) Y_i,

    from :math:`F = Y`. Messages flow from the neighbors j to i; A is symmetric, so that every edge carries both ways.

    Args:
        graph: A, a symmetric sparse matrix ``(n, n)``, as :func:`affinity_graph` makes it.
        y: Y, labels as one-hot rows ``(n, C)``, zero where unknown. Further columns may hold other draws of labels.
        alpha: share of what comes from the neighbors.
        steps: number of passes over the graph.

    Returns:
        F, ``(n, C)``, at least 0; a row is zero where no path of ``steps`` edges leads to a label.
    """
    if not is_torch_sparse_tensor(graph) or graph.is_complex() or graph.size(0) != graph.size(1):
        raise expects("propagate", "graph", "as a sparse matrix (n, n)", graph)
    check_features("propagate", y, "y")
    if len(y) != graph.size(0):
        raise expects("propagate", "y", f"with a row for each of {graph.size(0)} nodes", y)
    check_probability("propagate", alpha=alpha)
    check_count("propagate", steps=steps)
    spread = LabelPropagation(steps, alpha)
    # Columns do not mix, and a few of them stay in the cache of a core for all steps.
    return torch.cat([spread(part.contiguous(), graph) for part in y.split(_COLUMNS, dim=1)], dim=1)


def shares(spread: Tensor) -> Tensor:
    """Rows that sum to 1; zero rows stay."""
    return spread / spread.sum(-1, keepdim=True).clamp(min=torch.finfo(spread.dtype).tiny)


@torch.no_grad()
def propagated_accuracy(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    per_class: Sequence[int],
    draws: int = 10,
    seed: int = 0,
    k: int = NEIGHBORS,
) -> list[tuple[float, float]]:
    """Compute the accuracy of labels that a few training rows spread along the kNN graph, in per cent.

    ``per_class`` labels of each class spread over the graph of all training rows (:func:`propagate`); their other
    labels are not used. A test row, which is not in the graph, takes the class of the largest weighted sum of what its
    k nearest training rows hold (weights of :func:`affinity_graph`, rows scaled to sum 1). The draws of labels are
    those of :func:`~cl_as_gnn.evaluation.few_label_probe`.

    Args:
        train_x, train_y, test_x, test_y, draws, seed: as in :func:`~cl_as_gnn.evaluation.few_label_probe`.
        per_class: numbers of labels per class, each of which gets a result.
        k: neighbors of each row, capped at what there is.

    Returns:
        Mean and population standard deviation over the draws, for each of ``per_class``.

    Raises:
        ConfigError, ValueError: as in :func:`~cl_as_gnn.evaluation.few_label_probe`.
    """
    name = "propagated_accuracy"
    if not isinstance(per_class, list | tuple | range):
        raise expects(name, "per_class", "as a list of whole numbers", per_class, error=ConfigError)
    counts: dict[str, Any] = {f"per_class[{i}]": count for i, count in enumerate(per_class)}
    _checks.count(name, draws=draws, k=k, **counts)
    train_x, train_y, test_x, test_y = _checks.labeled_sets(name, train_x, train_y, test_x, test_y)
    chosen = [rows for count in per_class for rows in draw_rows(train_y, count, draws, seed, name)]
    classes, y = torch.unique(train_y, return_inverse=True)
    given = train_x.new_zeros(len(y), len(chosen), len(classes), dtype=torch.float32)
    for draw, rows in enumerate(chosen):
        given[rows, draw] = F.one_hot(y[rows], len(classes)).float()
    held = shares(propagate(affinity_graph(train_x, k), given.flatten(1)).view_as(given)).flatten(1)
    unit = unit_rows(train_x).float()
    similarity, index = search(unit, unit_rows(test_x).to(unit), min(k, len(unit)))
    weight = ((similarity - 1) / _TEMPERATURE).exp().unsqueeze(1)
    parts = zip(weight.split(_CHUNK), index.split(_CHUNK), strict=True)
    votes = torch.cat([(w @ held[i]).squeeze(1) for w, i in parts]).view(-1, *given.shape[1:])
    right = classes[votes.argmax(2)] == test_y.to(classes.device).unsqueeze(1)
    scores = 100 * right.double().mean(0).view(len(per_class), draws)
    return [(float(row.mean()), float(row.std(correction=0))) for row in scores]
