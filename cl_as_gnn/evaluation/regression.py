"""Error of a linear regression on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.evaluation import _checks
from cl_as_gnn.nn.checks import expects


@torch.no_grad()
def regression_error(train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, penalty: float = 1.0) -> float:
    """Compute how far a ridge regression misses its targets, in their unit.

    Features are standardized with the statistics of the training rows (a constant feature is only centered), and W, b
    minimize

        Σ_i ‖W x_i + b - y_i‖² + penalty · ‖W‖²

    The error is the mean Euclidean distance of prediction and target over the test rows.

    Args:
        train_x: features, n × d.
        train_y: targets, n × k.
        test_x: features, m × d.
        test_y: targets, m × k.
        penalty: strength of the L2 penalty, which leaves out b.

    Raises:
        ConfigError: `penalty` is not above 0.
        ValueError: features or targets are not finite matrices that fit each other.
    """
    name = "regression_error"
    _checks.positive(name, penalty=penalty)
    given = {"train_x": train_x, "test_x": test_x, "train_y": train_y, "test_y": test_y}
    x, test, y, truth = (_checks.features(name, part, key).double() for key, part in given.items())
    _checks.same_width(name, test, x.shape[1], "test_x")
    for key, targets, rows in (("train_y", y, x), ("test_y", truth, test)):
        if targets.shape != (len(rows), y.shape[1]):
            raise expects(name, key, f"of shape {(len(rows), y.shape[1])}, one target of each row", targets)
    std, mean = torch.std_mean(x, dim=0, correction=0)
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    x, test, center = (x - mean) / std, (test - mean) / std, y.mean(dim=0)
    gram = x.t() @ x
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, x.t() @ (y - center))
    return float((test @ weight + center - truth).norm(dim=1).mean())
