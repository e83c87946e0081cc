"""The linear probe: a logistic regression on all labels, fitted once and judged on any number of sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.evaluation import _checks
from cl_as_gnn.evaluation.probes import fit_logistic


class LinearProbe:
    """A logistic regression on standardized features.

    The linear evaluation of SimCLR (Chen et al., ICML 2020) with a convex solver in place of SGD. Each feature is
    standardized with the mean and standard deviation of the training rows (a constant feature is only centered); then
    L-BFGS minimizes over W and b, without a penalty on b,

        C · Σ_i -log softmax(W x_i + b)[y_i] + ‖W‖² / 2

    the objective of scikit-learn's `LogisticRegression`, in the multinomial form also for two classes.

    Args:
        x: training features, n × d; the regression runs on their device.
        y: integer classes, n.
        C: inverse strength of the L2 penalty, relative to the sum of the losses.
        max_iter: maximum number of L-BFGS iterations; reaching it warns.

    Raises:
        ConfigError: `C` or `max_iter` is not above 0.
        ValueError: features are not a finite matrix, labels are not one integer per row, or they hold fewer than two
            classes.
    """

    def __init__(self, x: Tensor, y: Tensor, C: float = 1.0, max_iter: int = 200):
        _checks.positive("LinearProbe", C=C)
        _checks.count("LinearProbe", max_iter=max_iter)
        x, y = _checks.labeled("LinearProbe", x, y)
        _checks.two_classes("LinearProbe", y)
        x = _checks.exact(x)
        self.mean = x.mean(dim=0)
        x = x - self.mean
        std = x.square().mean(dim=0).sqrt()  # std_mean over columns takes as long as 15 steps of the solver
        # Rounding leaves a constant feature with a tiny deviation, which must not be scaled up to 1.
        self.std = torch.where(std > 10 * torch.finfo(x.dtype).eps * self.mean.abs(), std, 1.0)
        self.classes, inverse = torch.unique(y, return_inverse=True)
        self.weight, self.bias = fit_logistic(x.div_(self.std), inverse, len(self.classes), C, max_iter)

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Compute the accuracy on other rows, in per cent.

        Args:
            x: features, m × d.
            y: integer classes, m; a class without training rows counts as an error.

        Raises:
            ValueError: features are not a finite matrix of the width of the training rows, or labels are not one
                integer per row.
        """
        x, y = _checks.labeled("LinearProbe", x, y)
        _checks.same_width("LinearProbe", x, len(self.mean), "x")
        x, y = x.to(self.mean), y.to(self.mean.device)
        predicted = self.classes[F.linear((x - self.mean) / self.std, self.weight, self.bias).argmax(dim=1)]
        return 100 * float((predicted == y).double().mean())


def linear_probe(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, C: float = 1.0, max_iter: int = 200
) -> float:
    """Compute the test accuracy of a logistic regression trained on all labels, in per cent.

    A :class:`LinearProbe` fitted on the training rows; its arguments and errors apply.

    Args:
        train_x: features, n × d.
        train_y: integer classes, n.
        test_x: features, m × d.
        test_y: integer classes, m.
        C, max_iter: of the regression.
    """
    _checks.positive("linear_probe", C=C)
    _checks.count("linear_probe", max_iter=max_iter)
    _checks.labeled_sets("linear_probe", train_x, train_y, test_x, test_y)
    return LinearProbe(train_x, train_y, C, max_iter).accuracy(test_x, test_y)
