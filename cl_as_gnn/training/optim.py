"""The optimizer and the schedule of its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch

from cl_as_gnn.config import OptimConfig
from cl_as_gnn.methods import Method


def build_optimizer(config: OptimConfig, method: Method[Any]) -> torch.optim.Optimizer:
    """AdamW, Adam, SGD or LARS; the parameters in ``method.no_weight_decay()`` get no decay and no LARS scaling."""
    spared = method.no_weight_decay()
    named = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    decayed, plain = ([p for name, p in named if (name in spared) == spare] for spare in (False, True))
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
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
