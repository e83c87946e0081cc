"""The optimizer and the schedule of its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from cl_as_gnn.config import OptimConfig
from cl_as_gnn.methods import Method


def build_optimizer(config: OptimConfig, method: Method[Any]) -> torch.optim.Optimizer:
    """AdamW, Adam, SGD or LARS; the parameters in ``method.no_weight_decay()`` get no decay and no LARS scaling.

    The rate of a parameter is ``config.lr`` times its factor in ``method.rate_factors()``, or ``config.lr``.
    """
    spared, factors = method.no_weight_decay(), method.rate_factors()
    members: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, False): [], (1.0, True): []}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            members.setdefault((factors.get(name, 1.0), name in spared), []).append(parameter)
    groups = [
        {"params": params, "weight_decay": 0.0 if spare else config.weight_decay, "lr": config.lr * factor}
        for (factor, spare), params in members.items()
    ]
    if config.name in ("adamw", "adam"):
        return (torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam)(groups, lr=config.lr, fused=True)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    from timm.optim.lars import Lars

    lars: torch.optim.Optimizer = Lars(groups, lr=config.lr, momentum=config.momentum)
    return lars


def rate_factor(step: int, total: int, config: OptimConfig) -> float:
    """Factor on the peak learning rate: a linear rise over ``warmup · total`` steps, then half a cosine to 0, or 1."""
    rise = max(1, round(config.warmup * total)) if config.warmup > 0 else 0
    if step < rise:
        return (step + 1) / rise
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
