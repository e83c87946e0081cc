"""A network that follows another: the target of momentum methods."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class MomentumCopy(nn.Module):
    """A copy of a network whose weights are an exponential moving average of the original's.

    The weights are buffers: saved and resumed with a run, seen by no optimizer, and no gradient reaches them.

    Args:
        source: the network to follow.
    """

    def __init__(self, source: nn.Module):
        super().__init__()
        self.module = deepcopy(source)
        for part in self.module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                delattr(part, name)
                part.register_buffer(name, parameter.detach().clone())

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """``w ← momentum · w + (1 − momentum) · source``; running statistics are the copy's own."""
        own = dict(self.module.named_buffers())
        theirs = dict(source.named_parameters())
        torch._foreach_lerp_([own[name] for name in theirs], [p.detach() for p in theirs.values()], 1 - momentum)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)
