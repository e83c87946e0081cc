"""Checks of the measures' arguments, in the words of :mod:`cl_as_gnn.nn.checks`; a wrong setting is a ConfigError."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.errors import ConfigError, NotFiniteError
from cl_as_gnn.nn.checks import (
    Got,
    check_count,
    check_edges,
    check_features,
    check_flag,
    check_integers,
    check_positive,
    check_range,
    check_weights,
    check_width,
    expects,
)

positive = partial(check_positive, error=ConfigError)
count = partial(check_count, error=ConfigError)
flag = partial(check_flag, error=ConfigError)


def features(caller: str, x: Any, key: str = "x") -> Tensor:
    """Return `x` (n × d) detached, half precisions as float32; ValueError if it is not a non-empty, finite matrix."""
    check_features(caller, x, key, real=True, cure="pass a matrix, one row per sample")
    if x.numel() == 0:
        raise expects(caller, key, "as a non-empty matrix", x)
    x = x.detach()
    out: Tensor = x if x.dtype == torch.float64 else x.float()
    if not bool(torch.stack(out.aminmax()).isfinite().all()):
        bad = int((~torch.isfinite(out).all(dim=1)).sum())
        got, cure = Got(f"NaN or infinity in {bad} of {len(out)} rows"), "check that training did not diverge"
        raise expects(caller, key, "as finite features", got, cure, NotFiniteError)
    return out


def labeled(caller: str, x: Any, labels: Any, key: str = "x", label_key: str = "y") -> tuple[Tensor, Tensor]:
    """Return checked features (n × d) and their integer labels (n) on one device; ValueError if either is wrong."""
    x = features(caller, x, key)
    check_integers(caller, labels, len(x), label_key, "one label of each row")
    return x, labels.detach().to(device=x.device, dtype=torch.long)


def labeled_sets(
    caller: str, train_x: Any, train_y: Any, test_x: Any, test_y: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test rows of one width, with labels of two classes or more, checked as by :func:`labeled`."""
    train_x, train_y = labeled(caller, train_x, train_y, "train_x", "train_y")
    test_x, test_y = labeled(caller, test_x, test_y, "test_x", "test_y")
    same_width(caller, test_x, train_x.shape[1], "test_x")
    two_classes(caller, train_y, "train_y")
    return train_x, train_y, test_x, test_y


def pair(caller: str, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return checked features of positive pairs, n × d each."""
    x, y = features(caller, x), features(caller, y, "y")
    if x.shape != y.shape:
        raise expects(caller, "y", f"of shape {tuple(x.shape)}, a positive for each row of x", y)
    return x, y.to(x)


def same_width(caller: str, x: Tensor, width: int, key: str) -> None:
    """Raise ValueError if features have not the columns of the others."""
    check_width(caller, x, width, key, "encode all with the same model")


def two_classes(caller: str, labels: Tensor, key: str = "y") -> None:
    """Raise ValueError if there is nothing to tell apart."""
    if bool((labels == labels[0]).all()):
        raise expects(caller, key, "to hold two classes or more", Got(f"the one class {int(labels[0])}"))


def exact(x: Tensor) -> Tensor:
    """Return `x` as float64 if squares of its entries vanish or overflow in float32."""
    return x if 1e-12 <= float(torch.stack(x.aminmax()).abs().max()) <= 1e16 else x.double()


def edges(caller: str, edge_index: Any, edge_weight: Any, nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the checked edges (2 × e) and their weights (e, float64) on `device`."""
    check_edges(caller, edge_index, edge_weight)
    check_range(caller, edge_index.cpu(), (nodes, nodes))
    edge_index = edge_index.to(device=device, dtype=torch.long)
    if edge_weight is None:
        return edge_index, torch.ones(edge_index.size(1), dtype=torch.float64, device=device)
    check_weights(caller, edge_weight.cpu())
    return edge_index, edge_weight.detach().to(device=device, dtype=torch.float64)
