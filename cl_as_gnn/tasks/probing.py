"""Scores of probes on shifted images, and of new probes on other images."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from torch import Tensor

from cl_as_gnn.config import EvalConfig
from cl_as_gnn.evaluation import LinearProbe, knn_accuracy
from cl_as_gnn.tasks.base import Features, Scores


def known_rows(features: Features, name: str) -> tuple[Tensor, Tensor]:
    """The features of a split whose labels are known, and these labels."""
    known = features[f"{name}_labels"] >= 0
    return features[name][known], features[f"{name}_labels"][known]


def shift_scores(
    probe: LinearProbe, bank: Tensor, y: Tensor, features: Features, names: Sequence[str], config: EvalConfig
) -> Scores:
    """Accuracies in percent, and their means, of probes on shifted images that were fitted without any shift.

    Args:
        probe: the linear probe, fitted on ``bank``.
        bank: features of the training images, n × d.
        y: their classes, n.
        features: those of shift NAME as ``shift_NAME``, with ``shift_NAME_labels``; no scores without them.
        names: of the shifts.
        config: the settings of the kNN score.
    """
    k, each = min(config.knn_k, len(bank)), {}
    for name in names:
        if f"shift_{name}" in features:
            x, truth = known_rows(features, f"shift_{name}")
            each[f"shift_{name}_linear_top1"] = probe.accuracy(x, truth)
            each[f"shift_{name}_knn_top1"] = knn_accuracy(bank, y, x, truth, k, config.knn_temperature)
    means = {}
    for kind in ("linear", "knn") if each else ():
        means[f"shift_{kind}_top1"] = fmean(value for key, value in each.items() if key.endswith(f"_{kind}_top1"))
    return means | each


def transfer_scores(features: Features, config: EvalConfig) -> Scores:
    """Accuracies in percent of new probes, fitted on ``transfer_train`` and scored on ``transfer_test``, if given."""
    if "transfer_train" not in features:
        return {}
    (bank, y), (x, truth) = (known_rows(features, name) for name in ("transfer_train", "transfer_test"))
    k = min(config.knn_k, len(bank))
    return {
        "transfer_linear_top1": LinearProbe(bank, y, max_iter=1000).accuracy(x, truth),
        "transfer_knn_top1": knn_accuracy(bank, y, x, truth, k, config.knn_temperature),
    }
