"""Weighted k-nearest-neighbor accuracy of frozen features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import _checks


@torch.no_grad()
def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
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

    Raises:
        ConfigError: `k`, `temperature` or `chunk` is not above 0, or `k` exceeds the bank.
        ValueError: features are not finite matrices of one width, or labels are not one integer per row.
    """
    bank, bank_labels = _checks.labeled(bank, bank_labels, "bank")
    query, query_labels = _checks.labeled(query, query_labels, "query")
    _checks.same_width(bank, query, "bank and query")
    return _accuracy(bank, bank_labels, query, query_labels, k, temperature, chunk)


@torch.no_grad()
def leave_one_out_knn(
    features: Tensor, labels: Tensor, k: int = 20, temperature: float = 0.07, chunk: int = 1024
) -> float:
    """Compute the weighted kNN accuracy of every row with all other rows as reference, in per cent.

    The vote is that of :func:`knn_accuracy`, whose arguments and errors apply; a row is no neighbor of its own, so that
    `k` is at most n - 1. It needs no second split, which makes it the estimate to watch during training.
    """
    features, labels = _checks.labeled(features, labels, "features")
    return _accuracy(features, labels, None, labels, k, temperature, chunk)


def _accuracy(
    bank: Tensor, bank_labels: Tensor, query: Tensor | None, truth: Tensor, k: int, temperature: float, chunk: int
) -> float:
    """Return the accuracy of `query`, or of each row of `bank` without itself if `query` is None."""
    _checks.positive(k=k, temperature=temperature, chunk=chunk)
    available, what = (len(bank), "bank rows") if query is not None else (len(bank) - 1, "other rows")
    if k > available:
        raise ConfigError(f"k is {k}, but there are only {available} {what}: lower k to at most {available}")
    bank = F.normalize(bank, dim=1)
    classes, bank_classes = torch.unique(bank_labels, return_inverse=True)
    correct = 0
    for start in range(0, len(truth), chunk):
        rows = slice(start, start + chunk)
        part = bank[rows] if query is None else F.normalize(query[rows].to(bank), dim=1)
        similarity = part @ bank.T
        if query is None:
            similarity.diagonal(offset=start).fill_(-torch.inf)
        nearest, index = similarity.topk(k, dim=1)
        # Dividing a row by its largest weight keeps the argmax, and a small temperature cannot overflow exp.
        weight = ((nearest - nearest[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(part), len(classes)).scatter_add_(1, bank_classes[index], weight)
        correct += int((classes[votes.argmax(dim=1)] == truth[rows].to(bank.device)).sum())
    return 100 * correct / len(truth)
