"""Checks of the measures' arguments. Each error names the value and the cure in one line."""

import torch
from torch import Tensor

from cl_as_gnn.errors import ConfigError, NotFiniteError


def features(x: Tensor, name: str) -> Tensor:
    """Return `x` (n × d) detached, half precisions as float32; ValueError if it is not a non-empty, finite matrix."""
    if x.dim() != 2 or x.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: pass a non-empty matrix, one row per sample")
    x = x.detach()
    x = x if x.dtype == torch.float64 else x.float()
    bad = int((~torch.isfinite(x).all(dim=1)).sum())
    if bad:
        raise NotFiniteError(
            f"{name} holds NaN or infinity in {bad} of {len(x)} rows: check that training did not diverge"
        )
    return x


def labeled(x: Tensor, labels: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return checked features (n × d) and their integer labels (n) on one device; ValueError if either is wrong."""
    x = features(x, name)
    if labels.shape != (len(x),):
        raise ValueError(f"labels of {name} have shape {tuple(labels.shape)}: pass one label for each of {len(x)} rows")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels of {name} are {labels.dtype}: pass class indices as integers")
    return x, labels.detach().to(device=x.device, dtype=torch.long)


def same_width(a: Tensor, b: Tensor, names: str) -> None:
    """Raise ValueError if two feature matrices differ in their number of columns."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{names} have {a.shape[1]} and {b.shape[1]} columns: encode both with the same model")


def positive(**settings: float) -> None:
    """Raise ConfigError if a setting is not above zero."""
    for name, value in settings.items():
        if not value > 0:
            raise ConfigError(f"{name} is {value}: it must be above 0")
