"""Error of a linear regression on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.evaluation import _checks


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
    _checks.positive(penalty=penalty)
    x, test = _checks.features(train_x, "train_x").double(), _checks.features(test_x, "test_x").double()
    y, truth = _checks.features(train_y, "train_y").double(), _checks.features(test_y, "test_y").double()
    _checks.same_width(x, test, "train_x and test_x")
    if len(x) != len(y) or len(test) != len(truth) or y.shape[1] != truth.shape[1]:
        raise ValueError(
            f"targets have shapes {tuple(y.shape)} and {tuple(truth.shape)}: pass one row for each of {len(x)} rows of "
            f"train_x and {len(test)} of test_x"
        )
    std, mean = torch.std_mean(x, dim=0, correction=0)
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    x, test, center = (x - mean) / std, (test - mean) / std, y.mean(dim=0)
    gram = x.t() @ x
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, x.t() @ (y - center))
    return float((test @ weight + center - truth).norm(dim=1).mean())
