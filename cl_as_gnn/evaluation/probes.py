"""Accuracy of frozen features: logistic regression on few labels or with a validated C, an SVM on whole graphs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.errors import ConfigError, Notice
from cl_as_gnn.evaluation import _checks
from cl_as_gnn.nn.checks import Got, check_features, check_mask, expects
from cl_as_gnn.nn.unit import unit_rows

C_GRID = tuple(float(c) for c in 10 ** np.arange(-2, 4.01, 0.5))
SVM_GRID = tuple(float(c) for c in 10 ** np.arange(-3.0, 3.01))


def few_label_probe(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, per_class: int, draws: int = 10, seed: int = 0
) -> tuple[float, float]:
    """Compute the test accuracy of a logistic regression trained on `per_class` labels per class, in per cent.

    The label-efficiency test of SimCLR (Chen et al., ICML 2020, section 6) on frozen features. A draw takes
    `per_class` training rows of every class at random without replacement; a logistic regression (the objective of
    :class:`LinearProbe`, C = 10) learns from them and is scored on the whole test set. The draws depend on `seed` and
    the labels alone: all methods get the same draws, and a larger `draws` keeps the first ones.

    Rows are scaled to unit L2 norm and not standardized: the standard deviation of ten rows is noise, and that of the
    whole set would amplify collapsed directions. One C therefore serves all methods.

    Args:
        train_x: features, n × d; the regression runs on their device.
        train_y: integer classes, n.
        test_x: features, m × d.
        test_y: integer classes, m; a class without training rows counts as an error.
        per_class: number of labels per class.
        draws: number of draws; the result is the mean and the population standard deviation over them.
        seed: of the draws.

    Raises:
        ConfigError: `per_class` or `draws` is not above 0, or a class has fewer than `per_class` rows.
        ValueError: features are not finite matrices of one width, labels are not one integer per row, or the training
            labels hold fewer than two classes.
    """
    _checks.count("few_label_probe", per_class=per_class, draws=draws)
    x, y, test, truth = _checks.labeled_sets("few_label_probe", train_x, train_y, test_x, test_y)
    test, truth = unit_rows(test.to(x).double()), truth.to(y)
    scores = [
        _fit_and_score(unit_rows(x[rows].double()), y[rows], test, truth, C=10.0, max_iter=1000)
        for rows in draw_rows(y, per_class, draws, seed)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _fit_and_score(x: Tensor, y: Tensor, test: Tensor, truth: Tensor, C: float, max_iter: int) -> float:
    classes, inverse = torch.unique(y, return_inverse=True)
    weight, bias = fit_logistic(x, inverse, len(classes), C, max_iter)
    predicted = classes[F.linear(test, weight, bias).argmax(dim=1)]
    return 100 * float((predicted == truth).double().mean())


def _row_basis(x: Tensor) -> Tensor:
    """Return an orthonormal basis (d × r) of the span of the rows of `x` (n × d), from their n × n inner products."""
    products = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for part in x.split(4096, dim=1):
        products.addmm_(part.double(), part.double().T)
    values, vectors = torch.linalg.eigh(products)
    kept = values > len(x) * torch.finfo(x.dtype).eps ** 2 * values[-1]
    basis: Tensor = x.T @ (vectors[:, kept] / values[kept].sqrt()).to(x.dtype)
    return basis


def fit_logistic(
    x: Tensor, y: Tensor, classes: int, C: float, max_iter: int, tolerance: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Return the weight (classes × d) and bias (classes) that minimize the objective of :class:`LinearProbe`.

    Correlated features make L-BFGS slow. It therefore works on centered features X, whose mean the bias absorbs, and on
    V with W = V Mᵀ, where M Mᵀ is the inverse of the objective's curvature in W at the start,
    XᵀX / (classes · n) + I / (C n). The minimum is the same. The labels `y` are from 0 to `classes` - 1. The solver
    stops when no entry of the gradient of objective / (C n) in V and b exceeds `tolerance`.

    The penalty keeps W in the span of the rows. More features than rows are therefore expressed in an orthonormal basis
    of that span, so that no d × d matrix is made and the minimum is the same.
    """
    n, d = x.shape
    if d > n:
        basis = _row_basis(x)
        weight, bias = fit_logistic(x @ basis, y, classes, C, max_iter, tolerance)
        return weight @ basis.T, bias
    penalty = 1 / (C * n)
    identity = torch.eye(d, dtype=torch.float64, device=x.device)
    mean = x.mean(dim=0)
    x = x - mean
    curvature = (x.T @ x).double() / (classes * n)
    # The shift keeps the factor accurate in float32; any positive definite matrix here gives the same minimum.
    curvature += (penalty + 1e-5 * curvature.diagonal().mean()) * identity
    m = torch.linalg.solve_triangular(torch.linalg.cholesky(curvature).T, identity, upper=True).to(x.dtype)
    v = x.new_zeros(classes, d, requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [v, bias],
        max_iter=max_iter,
        max_eval=30 * max_iter,  # torch's default, 1.25 evaluations per iteration, would cut line searches short
        tolerance_grad=tolerance,
        tolerance_change=tolerance / 1000,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def objective() -> Tensor:
        weight = v @ m.T
        loss, by_weight, bias.grad = _cross_entropy(x, y, weight, bias)
        v.grad = (by_weight + penalty * weight) @ m
        value: Tensor = loss + penalty / 2 * weight.square().sum()
        return value

    solver.step(objective)
    if solver.state[v]["n_iter"] >= max_iter:
        text = f"the probe stopped at max_iter={max_iter} before it converged: raise max_iter"
        warnings.warn(text, Notice, stacklevel=4)
    weight = (v @ m.T).detach()
    return weight, bias.detach() - weight @ mean


def _cross_entropy(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy of the logits x Wᵀ + b and its gradients in W and b.

    Autograd would take half as long again. Classes lie in rows: a softmax over ten adjacent entries is slow.
    """
    target = y.unsqueeze(0)
    logits = F.linear(x, weight, bias).T.contiguous().log_softmax(0)
    loss = -logits.gather(0, target).mean()
    error = logits.exp_().div_(len(x))
    error.scatter_add_(0, target, error.new_tensor(-1 / len(x)).expand_as(target))
    return loss, error @ x, error.sum(1)


def draw_rows(labels: Tensor, per_class: int, draws: int, seed: int, caller: str = "few_label_probe") -> list[Tensor]:
    """Return, for each draw, the chosen rows: `per_class` of every class, classes in ascending order."""
    values = labels.cpu().numpy()
    members = {int(c): np.flatnonzero(values == c) for c in np.unique(values)}
    for c, rows in members.items():
        if len(rows) < per_class:
            cure = f"class {c} has {len(rows)} training rows"
            raise expects(caller, "per_class", f"at most {len(rows)}", per_class, cure, ConfigError)
    rng = np.random.default_rng(seed)
    chosen = [np.concatenate([rng.choice(r, per_class, replace=False) for r in members.values()]) for _ in range(draws)]
    return [torch.from_numpy(rows).to(labels.device) for rows in chosen]


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
    check_features("span_coordinates", x, real=True)
    check_mask("span_coordinates", (len(x),), train=train)
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
    x, y = _checks.labeled("validated_probe", x, y)
    check_mask("validated_probe", (len(x),), train=train, validation=validation, test=test)
    _checks.positive("validated_probe", C=C)
    for key, mask in (("train", train), ("test", test)):
        if not bool(mask.any()):
            raise expects("validated_probe", key, "with a row or more", Got("none: the mask is empty"))
    _checks.two_classes("validated_probe", y[train])
    # scikit-learn is imported where it is needed: it takes a second, and most commands do without.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rows, labels = unit_rows(span_coordinates(x, train).double()).numpy(), y.numpy()
    fit, hold, score = train.numpy(), validation.numpy(), test.numpy()
    grid = C_GRID if hold.any() else (C,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        models = [LogisticRegression(C=strength, max_iter=3000).fit(rows[fit], labels[fit]) for strength in grid]
    held = [100 * float(model.score(rows[hold], labels[hold])) for model in models] if hold.any() else None
    best = int(np.argmax(held)) if held else 0
    accuracy = 100 * float(models[best].score(rows[score], labels[score]))
    return Probe(accuracy, held[best] if held else None, grid[best])


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
    x, y = _checks.labeled("cross_validated_svm", x, y)
    _checks.two_classes("cross_validated_svm", y)
    smallest = int(torch.unique(y, return_counts=True)[1].min())
    _checks.count("cross_validated_svm", 2, smallest, cure="the rows of the smallest class", folds=folds)
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import SVC

    rows, labels = x.double().numpy(), y.numpy()
    scores = []
    for fit, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels):
        search = GridSearchCV(SVC(), {"C": list(SVM_GRID)}, cv=5).fit(rows[fit], labels[fit])
        scores.append(100 * float(search.score(rows[test], labels[test])))
    return float(np.mean(scores)), float(np.std(scores))
