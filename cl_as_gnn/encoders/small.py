"""A small convolutional encoder for small images."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from cl_as_gnn.compat import is_tracing
from cl_as_gnn.encoders.backbone import Backbone, BackboneConfig
from cl_as_gnn.encoders.batch_norm import BatchNorm2d
from cl_as_gnn.errors import ConfigError

_ConvNorm = partial(Conv2dNormActivation, padding=1, norm_layer=BatchNorm2d)


class Residual(nn.Module):
    """``relu(x + BN(conv(x)))`` with one 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return (y + x).relu_()


class _MeanMax(torch.autograd.Function):
    """Mean and maximum over the positions of ``(n, positions, C)``, concatenated: ``(n, 2C)``.

    Equal maxima share the gradient, as in ``amax``, but without boolean masks, which are slow on a CPU.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.cat([x.mean(1), x.amax(1)], dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, out = ctx.saved_tensors
        top = out.chunk(2, dim=1)[1]
        to_mean, to_top = grad.chunk(2, dim=1)
        at_top = (x - top.unsqueeze(1)).sign() + 1  # 1 where x is the maximum, else 0
        share = (to_top / at_top.sum(1)).unsqueeze(1)
        to_x: Tensor = at_top * share + (to_mean / x.size(1)).unsqueeze(1)
        return to_x


class SmallConfig(BackboneConfig):
    name: Literal["small"] = "small"
    width: int = Field(32, ge=8, le=512, multiple_of=2, description="channels w; features are 8w wide")


class SmallEncoder(Backbone):
    """Four convolutions for images of 8 to 32 px, designed for a CPU.

    Channels ``C -> w/2 -> 2w -> 2w (residual) -> average pool -> 4w`` for width w; then the mean and the maximum over
    positions, concatenated: ``(n, C, H, W) -> (n, 8w)``. The first convolution already halves the side (4×4, stride 2):
    most of the work is wide 3×3 convolutions over small maps, where a CPU comes nearest to its peak.

    The side is halved ``round(log2(image_size / 4))`` times, at most three and the latest layers first: images of 8, 16
    and 32 px all end in maps of 4×4. Kernels are fastest in the channels-last layout, which ``build`` sets.
    """

    Config = SmallConfig
    summary = "four convolutions for images of 8 to 32 px, fast on a CPU"

    stages: ClassVar = {"stem": r"0\.", "blocks": r"(\d)\."}

    @classmethod
    def make(cls, config: SmallConfig, channels: int, side: int) -> nn.Module:
        if config.drop_path is not None:
            raise ConfigError(f"encoder.drop_path={config.drop_path}: {config.name} has no stochastic depth, drop it")
        width, halvings = config.width, round(math.log2(side / 4))
        stem, first = (2 if halvings >= needed else 1 for needed in (3, 2))
        return nn.Sequential(
            _ConvNorm(channels, width // 2, 2 + stem, stem),
            _ConvNorm(width // 2, 2 * width, 3, first),
            Residual(2 * width),
            # Averaging, then a convolution of stride 1: its backward pass is a third cheaper than that of stride 2.
            nn.AvgPool2d(2, ceil_mode=True) if halvings >= 1 else nn.Identity(),
            _ConvNorm(2 * width, 4 * width),
        )

    @property
    def network(self) -> nn.Module:
        return self

    def maps(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y

    def forward(self, x: Tensor) -> Tensor:
        y = self.maps(x)
        positions = y.permute(0, 2, 3, 1).flatten(1, 2)
        # A saved trace cannot hold a custom autograd function.
        if is_tracing():
            return _MeanMax.forward(positions)
        out: Tensor = _MeanMax.apply(positions)
        return out
