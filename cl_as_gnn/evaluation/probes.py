"""Probes that choose a setting on held-out samples: logistic regression on nodes, an SVM on whole graphs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC
from torch import Tensor

from cl_as_gnn.evaluation import _checks

C_GRID = tuple(float(c) for c in 10 ** np.arange(-2, 4.01, 0.5))
SVM_GRID = tuple(float(c) for c in 10 ** np.arange(-3.0, 3.01))


@dataclass(frozen=True)
class Probe:
    """Accuracy in per cent on the test rows and on the validation rows, if any, and the C chosen on the latter."""

    test: float
    validation: float | None
    C: float


def span_coordinates(x: Tensor, train: Tensor) -> Tensor:
    """Express the rows of `x` (n × d) in m + 1 coordinates of the span of the m training rows, if d exceeds m + 1.

    The last coordinate is the distance of a row from the span. Lengths and inner products with training rows stay, and
    therefore the results of nearest neighbors and of regressions with an L2 penalty.

    Args:
        x: features, n × d.
        train: mask of the training rows, bool, n.
    """
    known = x[train].double()
    if x.size(1) <= len(known) + 1:
        return x
    inside = x.double() @ torch.linalg.qr(known.t()).Q
    outside = (x.double().square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()
    outside[train] = 0
    return torch.cat([inside, outside.unsqueeze(1)], dim=1)


def validated_probe(x: Tensor, y: Tensor, train: Tensor, validation: Tensor, test: Tensor, C: float = 1.0) -> Probe:
    """Fit a logistic regression, choose its C on the validation rows, and score it once on the test rows.

    Rows are scaled to unit norm. scikit-learn's `LogisticRegression` (L2, multinomial) is fitted on the training rows
    for each C from 0.01 to 10,000 in half decades; among equally good values the smallest C wins. The validation rows
    do not join the training rows afterwards.

    Args:
        x: features, n × d.
        y: integer classes, n.
        train: mask of the training rows, bool, n.
        validation: mask of the rows that choose C; if it is empty, `C` is used.
        test: mask of the rows to score.
        C: inverse strength of the penalty without validation rows.

    Raises:
        ValueError: features are not a finite matrix, labels are not one integer per row, or `train` or `test` is empty.
    """
    x, y = _checks.labelled(x, y, "x")
    if not (bool(train.any()) and bool(test.any())):
        raise ValueError("validated_probe expects training rows and rows to score: one of the masks is empty")
    rows, labels = F.normalize(span_coordinates(x, train).double(), dim=1).numpy(), y.numpy()
    fit, hold, score = train.numpy(), validation.numpy(), test.numpy()
    grid = C_GRID if hold.any() else (C,)
    best: tuple[float, float, Any] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in grid:
            model = LogisticRegression(C=strength, max_iter=3000).fit(rows[fit], labels[fit])
            found = 100 * float(model.score(rows[hold], labels[hold])) if hold.any() else 0.0
            if best is None or found > best[0]:
                best = found, strength, model
    assert best is not None
    found, strength, model = best
    return Probe(100 * float(model.score(rows[score], labels[score])), found if hold.any() else None, strength)


def cross_validated_svm(x: Tensor, y: Tensor, folds: int = 10, seed: int = 0) -> tuple[float, float]:
    """Compute the accuracy of an SVM on features of whole graphs, mean and standard deviation over folds, in per cent.

    The protocol of InfoGraph and GraphCL: stratified folds in random order; an SVM with RBF kernel is fitted on all but
    one fold, its C from 0.001 to 1,000 chosen by five-fold cross-validation inside the training folds.

    Args:
        x: features, n × d.
        y: integer classes, n.
        folds: number of folds, at most the size of the smallest class.
        seed: of the order of the rows.
    """
    x, y = _checks.labelled(x, y, "x")
    rows, labels = x.double().numpy(), y.numpy()
    scores = []
    for fit, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels):
        search = GridSearchCV(SVC(), {"C": list(SVM_GRID)}, cv=5).fit(rows[fit], labels[fit])
        scores.append(100 * float(search.score(rows[test], labels[test])))
    return float(np.mean(scores)), float(np.std(scores))
