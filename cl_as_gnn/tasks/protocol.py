"""The numbers at the end of a run: frozen encoder, stated protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.config import EvalConfig
from cl_as_gnn.datasets import BatchedViews, ImageData, Split
from cl_as_gnn.evaluation import (
    alignment,
    edge_purity,
    effective_rank,
    few_label_probe,
    knn_accuracy,
    linear_probe,
    uniformity,
)
from cl_as_gnn.graph import knn_edges

HEADLINE = ("knn_top1", "linear_top1", "label1_top1", "label10_top1")
_GEOMETRY_IMAGES = 2048
_PURITY_K = 10


def describe(config: EvalConfig, data: ImageData) -> str:
    """One sentence that says what the numbers mean."""
    k = min(config.knn_k, len(data.train))
    return (
        f"frozen encoder in eval mode, no augmentation, features before the projector; scored on the "
        f"{len(data.test):,} images of the {config.split} split with the {len(data.train):,} training images as bank "
        f"and labels; knn: weighted, cosine, k={k}, T={config.knn_temperature:g}; linear: logistic "
        f"regression on standardized features, C=1; labelN: logistic regression on unit features, N labels a class, "
        f"C=10, mean of {config.draws} draws"
    )


def score(train: Tensor, test: Tensor, data: ImageData, config: EvalConfig) -> dict[str, float | None]:
    """kNN, linear and few-label accuracy in per cent of features ``(n, d)`` of the train and the test split.

    ``label10_top1`` is ``None`` where a class has fewer than ten training images, and likewise ``label1_top1``.
    """
    y, truth = data.train.labels, data.test.labels
    smallest = int(torch.bincount(y).min())

    def few(count: int) -> float | None:
        if smallest < count:
            return None
        return few_label_probe(train, y, test, truth, count, config.draws)[0]

    k = min(config.knn_k, len(train))
    return {
        "knn_top1": knn_accuracy(train, y, test, truth, k, config.knn_temperature),
        "linear_top1": linear_probe(train, y, test, truth, max_iter=1000),
        "label1_top1": few(1),
        "label10_top1": few(10),
    }


def geometry(
    project: Callable[[Tensor], Tensor], views: BatchedViews, test: Tensor, data: ImageData, device: torch.device | str
) -> dict[str, float]:
    """Alignment and uniformity of unit projections of two views, effective rank of features, purity of kNN edges.

    Args:
        project: normalized views to the features that messages act on.
        views: the run's augmentation.
        test: features of the scored split, ``(n, d)``.
    """
    index = torch.linspace(0, len(data.train) - 1, min(_GEOMETRY_IMAGES, len(data.train))).long()
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        z = torch.cat(
            [
                project(views(images.to(device), 2, generator)).float().cpu().view(2, len(images), -1)
                for images in data.train.images[index].split(256)
            ],
            dim=1,
        )
    z = F.normalize(z, dim=2)
    rows = torch.linspace(0, len(test) - 1, min(_GEOMETRY_IMAGES, len(test))).long()
    features, labels = test[rows], data.test.labels[rows]
    out = {
        "alignment": alignment(z[0], z[1]),
        "uniformity": uniformity(z[0]),
        "effective_rank": effective_rank(features),
    }
    if len(features) > _PURITY_K:
        out["edge_purity"] = edge_purity(knn_edges(features, _PURITY_K)[0], labels)
    return out


def pixels(split: Split) -> Tensor:
    """Raw pixels as features, ``(n, C·H·W)`` in 0 … 1."""
    return split.images.flatten(1).float() / 255


def table_rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, float | None]]]:
    """Rows of the short table: the run, then its baselines."""
    rows = [(str(metrics["method"]), {k: metrics.get(k) for k in HEADLINE})]
    rows += list(metrics.get("baselines", {}).items())
    return rows
