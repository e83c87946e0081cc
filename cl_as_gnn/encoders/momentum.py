"""The target network of momentum methods."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class MomentumCopy(nn.Module):
    """A copy of a network whose weights are an exponential moving average of the original's.

    The weights are buffers: checkpoints hold them, no optimizer updates them, and they have no gradient.
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
        """``w ← momentum · w + (1 − momentum) · source``; the copy keeps its own running statistics."""
        own = dict(self.module.named_buffers())
        theirs = dict(source.named_parameters())
        if theirs:
            torch._foreach_lerp_([own[name] for name in theirs], [p.detach() for p in theirs.values()], 1 - momentum)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)
