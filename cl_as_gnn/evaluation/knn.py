"""Weighted kNN classification on frozen features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cl_as_gnn.evaluation import _checks
from cl_as_gnn.graph.knn import top_products
from cl_as_gnn.nn.unit import unit_rows


@torch.no_grad()
def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 256,
    top: int = 1,
) -> float:
    """Compute the weighted kNN accuracy of `query` with `bank` as reference, in per cent.

    Wu, Xiong, Yu and Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
    section 3.4. With s_ij the cosine similarity of query i and bank row j, and N_k(i) the k most similar bank rows,
    class c gets the vote

        v_c(i) = Σ_{j ∈ N_k(i)} exp(s_ij / temperature) · 1[label_j = c]

    and the largest vote is the prediction (among equal votes, the smallest label). A row of zeros has similarity 0 to
    every row.

    Args:
        bank: reference features, n × d.
        bank_labels: their integer classes, n.
        query: features to classify, m × d.
        query_labels: their integer classes, m; a class that is not in the bank counts as an error.
        k: number of neighbors that vote, at most n.
        temperature: of the weights; a small value gives the nearest neighbor most of the vote.
        chunk: number of queries at a time; memory holds chunk × n similarities.
        top: a query counts as right if its class is among so many of the largest votes.

    Raises:
        ConfigError: `k`, `temperature`, `chunk` or `top` is not above 0, or `k` exceeds the bank.
        ValueError: features are not finite matrices of one width, or labels are not one integer per row.
    """
    query, query_labels = _checks.labeled("knn_accuracy", query, query_labels, "query", "query_labels")
    predicted = _predict("knn_accuracy", bank, bank_labels, query, k, temperature, chunk, top)
    right = (predicted == query_labels.to(predicted.device).unsqueeze(1)).any(dim=1)
    return 100 * int(right.sum()) / len(right)


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    query: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 256,
    top: int = 1,
) -> Tensor:
    """Predict the classes of `query` by the vote of :func:`knn_accuracy`, whose arguments and errors apply.

    Returns:
        the classes with the largest votes, largest first, m × `top` (at most as many as the bank has); classes without
        a vote come last, in their order.
    """
    return _predict("knn_predict", bank, bank_labels, query, k, temperature, chunk, top)


def _predict(
    caller: str, bank: Tensor, bank_labels: Tensor, query: Tensor, k: int, temperature: float, chunk: int, top: int
) -> Tensor:
    bank, bank_labels = _checks.labeled(caller, bank, bank_labels, "bank", "bank_labels")
    query = _checks.features(caller, query, "query")
    _checks.same_width(caller, query, bank.shape[1], "query")
    _checks.count(caller, top=top)
    classes, votes = _votes(caller, bank, bank_labels, query, k, temperature, chunk)
    if top == 1:
        return classes[torch.cat([part.argmax(dim=1, keepdim=True) for part in votes])]
    return classes[torch.cat([part.argsort(dim=1, descending=True, stable=True)[:, :top] for part in votes])]


@torch.no_grad()
def leave_one_out_knn(
    features: Tensor, labels: Tensor, k: int = 20, temperature: float = 0.07, chunk: int = 256
) -> float:
    """Compute the weighted kNN accuracy of every row with all other rows as reference, in per cent.

    The vote is that of :func:`knn_accuracy`, whose arguments and errors apply; a row is no neighbor of its own, so that
    `k` is at most n - 1. It needs no second split, which makes it the estimate to watch during training.
    """
    features, labels = _checks.labeled("leave_one_out_knn", features, labels, "features", "labels")
    classes, votes = _votes("leave_one_out_knn", features, labels, None, k, temperature, chunk)
    predicted = classes[torch.cat([part.argmax(dim=1) for part in votes])]
    return 100 * int((predicted == labels).sum()) / len(labels)


def _votes(
    caller: str, bank: Tensor, bank_labels: Tensor, query: Tensor | None, k: int, temperature: float, chunk: int
) -> tuple[Tensor, Iterator[Tensor]]:
    """Return the classes, and the votes (queries × classes) of `query`, or of each row of `bank` without itself if
    `query` is None, chunk by chunk."""
    others = len(bank) - (query is None)
    _checks.positive(caller, temperature=temperature)
    _checks.count(caller, chunk=chunk)
    _checks.count(caller, most=others, cure=f"there are only {others} rows to be neighbors", k=k)
    bank = unit_rows(bank)
    classes, bank_classes = torch.unique(bank_labels, return_inverse=True)

    queries = bank if query is None else unit_rows(query).to(bank)

    def votes(found: tuple[Tensor, Tensor]) -> Tensor:
        nearest, index = found
        # Dividing a row by its largest weight keeps the order, and a small temperature cannot overflow exp.
        weight = ((nearest - nearest[:, :1]) / temperature).exp()
        return weight.new_zeros(len(index), len(classes)).scatter_add_(1, bank_classes[index], weight)

    return classes, map(votes, top_products(bank, queries, k, chunk, others=query is None))
