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
    bank, bank_labels = _checks.labelled(bank, bank_labels, "bank")
    query, query_labels = _checks.labelled(query, query_labels, "query")
    _checks.same_width(bank, query, "bank and query")
    _check_settings(k, temperature, chunk, available=len(bank), what="bank rows")
    bank = F.normalize(bank, dim=1)
    classes, bank_classes = torch.unique(bank_labels, return_inverse=True)

    correct = 0
    for part, truth in zip(torch.split(query, chunk), torch.split(query_labels, chunk), strict=True):
        similarity = F.normalize(part.to(bank), dim=1) @ bank.T
        predicted = classes[_vote(similarity, bank_classes, len(classes), k, temperature)]
        correct += int((predicted == truth.to(bank.device)).sum())
    return 100 * correct / len(query)


@torch.no_grad()
def leave_one_out_knn(
    features: Tensor, labels: Tensor, k: int = 20, temperature: float = 0.07, chunk: int = 1024
) -> float:
    """Compute the weighted kNN accuracy of every row with all other rows as reference, in per cent.

    The vote is that of :func:`knn_accuracy`, whose arguments and errors apply; a row is no neighbor of its own, so that
    `k` is at most n - 1. It needs no second split, which makes it the estimate to watch during training.
    """
    features, labels = _checks.labelled(features, labels, "features")
    _check_settings(k, temperature, chunk, available=len(features) - 1, what="other rows")
    features = F.normalize(features, dim=1)
    classes, inverse = torch.unique(labels, return_inverse=True)

    correct = 0
    for start in range(0, len(features), chunk):
        similarity = features[start : start + chunk] @ features.T
        similarity.diagonal(offset=start).fill_(-torch.inf)
        predicted = _vote(similarity, inverse, len(classes), k, temperature)
        correct += int((predicted == inverse[start : start + chunk]).sum())
    return 100 * correct / len(features)


def _check_settings(k: int, temperature: float, chunk: int, available: int, what: str) -> None:
    _checks.positive(k, "k")
    _checks.positive(temperature, "temperature")
    _checks.positive(chunk, "chunk")
    if k > available:
        raise ConfigError(f"k is {k}, but there are only {available} {what}: lower k to at most {available}")


def _vote(similarity: Tensor, bank_classes: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Return the predicted class (chunk) of each row of `similarity` (chunk × n)."""
    nearest, index = similarity.topk(k, dim=1)
    # Dividing a row by its largest weight keeps the argmax, and a small temperature cannot overflow exp.
    weight = ((nearest - nearest[:, :1]) / temperature).exp()
    votes = weight.new_zeros(len(similarity), classes)
    return votes.scatter_add_(1, bank_classes[index], weight).argmax(dim=1)
