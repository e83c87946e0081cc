"""Where the weight of the augmentation graph goes: to the same sample, to its class, or to other classes."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.evaluation import _checks
from cl_as_gnn.nn.checks import Got, check_integers, expects
from cl_as_gnn.nn.unit import unit_rows


@torch.no_grad()
def view_weight(x: Tensor, y: Tensor, labels: Tensor, temperature: float, k: int = 256) -> tuple[float, float, float]:
    r"""Compute the shares of the weight between two views that stay at a sample, in its class, and leave its class.

    In the augmentation graph (HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss", NeurIPS 2021) two samples are joined as far as their views can be the same. With
    :math:`p(v_1, v_2) / (p(v_1) p(v_2))` the ratio that an encoder trained by InfoNCE estimates as
    :math:`e^{s_{ij} / \tau}` up to a constant (van den Oord et al. 2018), the weight from view 1 of sample i to view 2
    of sample j, in a block of K samples, is

    .. math::
        W_{ij} = \tfrac12 \Big( \frac{e^{s_{ij} / \tau}}{\sum_k e^{s_{ik} / \tau}}
            + \frac{e^{s_{ij} / \tau}}{\sum_k e^{s_{kj} / \tau}} \Big),

    s the cosine similarity. Each of the two parts adds up to one for every sample, so the shares add up to 1. If views
    share nothing, W is uniform: 1/K stays, and the rest is divided as the classes are.

    Args:
        x: features of the first views, n × d.
        y: features of the second views, n × d; row i belongs to row i of `x`.
        labels: classes, n; samples whose label is −1 are left out.
        temperature: τ with which the encoder was trained.
        k: K at least, if there are so many. Samples may be sorted by class: a block takes every m-th of them, m the
            number of blocks.

    Returns:
        Shares of the weight at the sample itself, at others of its class, and at other classes.

    Raises:
        ConfigError: `temperature` or `k` is not above 0.
        ValueError: the features are not finite matrices of one shape, or no sample has a label.
    """
    _checks.positive("view_weight", temperature=temperature)
    _checks.count("view_weight", k=k)
    x, y = _checks.pair("view_weight", x, y)
    check_integers("view_weight", labels, len(x))
    known = labels >= 0
    if not bool(known.any()):
        cure = "the weight within a class is undefined"
        raise expects("view_weight", "labels", "of one sample or more", Got("none: no sample has a label"), cure)
    x, y, labels = unit_rows(x[known].double()), unit_rows(y[known].double()), labels[known]
    count = max(1, len(x) // k)
    own = within = between = total = 0.0
    for part in (slice(first, None, count) for first in range(count)):
        first, second, label = x[part], y[part], labels[part]
        logits = first @ second.t() / temperature
        weight = (logits.softmax(1) + logits.softmax(0)) / 2
        same = label[:, None] == label
        diagonal = weight.diagonal().sum()
        own += float(diagonal)
        within += float((weight * same).sum() - diagonal)
        between += float((weight * ~same).sum())
        total += len(label)
    return own / total, within / total, between / total
