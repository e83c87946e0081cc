"""Measures of tokens before any training: how well they respect the classes, and what their graph connects."""

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_count, check_features, check_integers, check_within, expects


def token_counts(token: Tensor, labels: Tensor, num_tokens: int, num_classes: int) -> Tensor:
    """Count tokens by class: R (K × classes), float64, from tokens (n × P) and labels (n); unknown labels, −1, do not
    count."""
    name = "token_counts"
    check_count(name, num_tokens=num_tokens, num_classes=num_classes)
    if not isinstance(token, Tensor) or token.dim() != 2 or token.is_floating_point() or token.is_complex():
        raise expects(name, "token", "as integers of shape (n, P)", token)
    check_integers(name, labels, len(token))
    check_within(name, "token", token, num_tokens, "tokens")
    check_within(name, "labels", labels.clamp(min=0), num_classes, "classes")
    known = labels >= 0
    index = (token[known] * num_classes + labels[known].unsqueeze(1)).flatten()
    return torch.bincount(index, minlength=num_tokens * num_classes).view(num_tokens, num_classes).double()


def tcas(counts: Tensor) -> float:
    """Return the token-class alignment similarity: 0 if every token has its own class, 1 − 1/K if all are alike.

    Du, Wang and Wang, "On the Role of Discrete Tokenization in Visual Representation Learning", ICLR 2024. With rows of
    the counts scaled to unit Euclidean length, R̄, over the K tokens that occur:

        1 / K² · ‖R̄R̄ᵀ − I‖²

    Args:
        counts: of tokens by class, K × classes.
    """
    check_features("tcas", counts, "counts", real=True)
    rows = counts[counts.sum(1) > 0].double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    return float((rows @ rows.t() - torch.eye(len(rows), dtype=rows.dtype)).square().mean())


def two_hop_purity(counts: Tensor) -> float:
    """Return the share of weight within a class of the two-hop graph A = B diag(P(S))⁻¹ Bᵀ of images over tokens.

    B is the joint probability of image and token. An image is its own neighbor. The share needs the counts alone:

        Σ_k P(k) Σ_c P(c | k)²

    Args:
        counts: of tokens by class, K × classes.
    """
    check_features("two_hop_purity", counts, "counts", real=True)
    rows = counts[counts.sum(1) > 0].double()
    return float((rows.square().sum(1) / rows.sum(1)).sum() / rows.sum())


def connected_within(b: Tensor, labels: Tensor) -> float:
    """Return the share of the pairs of different contexts of one class that are to predict a common token.

    Args:
        b: weights of contexts and tokens, n × K.
        labels: class of each context, n.
    """
    check_features("connected_within", b, "b", real=True)
    check_integers("connected_within", labels, len(b), what="one of each context")
    met = pairs = 0
    for label in labels.unique().tolist():
        rows = (b[labels == label] > 0).float()
        met += int((rows @ rows.t() > 0).sum()) - int(rows.any(1).sum())
        pairs += len(rows) * (len(rows) - 1)
    return met / max(1, pairs)


def singular_values(b: Tensor, count: int = 10) -> list[float]:
    """Return the largest singular values of D_c^(−½) B D_t^(−½), descending; the first is 1.

    As many of them are 1 as the graph has connected components; lower ones say how fast a walk of two hops mixes.

    Args:
        b: weights of contexts and tokens, n × K.
        count: how many.
    """
    check_features("singular_values", b, "b", real=True)
    check_count("singular_values", count=count)
    b = b[b.sum(1) > 0][:, b.sum(0) > 0].double()
    scaled = b / b.sum(1, keepdim=True).sqrt()
    scaled = scaled / b.sum(0).sqrt()
    gram = scaled.t() @ scaled if b.size(1) < b.size(0) else scaled @ scaled.t()
    found: list[float] = torch.linalg.eigvalsh(gram).flip(0)[:count].clamp(min=0).sqrt().tolist()
    return found
