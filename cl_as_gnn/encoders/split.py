"""Encoders of groups of channels, side by side; the one place that builds an encoder from its config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.base import Encoder, Inputs
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import ENCODERS


class SideBySide(Encoder):
    """An encoder for each group of channels, ``(n, C, S, S) -> (n, d_1 + d_2 + …)``: features lie side by side.

    Args:
        parts: an encoder for each group.
        channels: number of channels in each group, in their order.
    """

    def __init__(self, parts: Sequence[Encoder], channels: Sequence[int]):
        super().__init__()
        self.parts, self.channels = nn.ModuleList(parts), tuple(channels)
        self.widths = tuple(part.out_dim for part in parts)
        self.out_dim = sum(self.widths)

    def forward(self, x: Tensor) -> Tensor:
        groups = (g.contiguous(memory_format=torch.channels_last) for g in x.split(self.channels, 1))
        return torch.cat([part(group) for part, group in zip(self.parts, groups, strict=True)], 1)

    def start(self, config: Any) -> list[str]:
        if getattr(config, "weights", None) is not None:
            raise ConfigError(
                f"encoder.weights={config.weights} are of one encoder, and encoder.split={config.split} makes two: "
                "drop one of them"
            )
        return []

    def _encoders(self) -> list[tuple[str, Encoder]]:
        return [(f"parts.{i}.", part) for i, part in enumerate(self.parts) if isinstance(part, Encoder)]

    def rate_factors(self) -> dict[str, float]:
        return {f"{at}{name}": factor for at, part in self._encoders() for name, factor in part.rate_factors().items()}

    def no_weight_decay(self) -> set[str]:
        return {f"{at}{name}" for at, part in self._encoders() for name in part.no_weight_decay()}


def build_encoder(config: EncoderConfig, inputs: Inputs) -> Encoder:
    """Build the encoder that a config names; with ``encoder.split`` one for each of two groups of channels.

    Raises:
        ConfigError: the encoder cannot read such inputs, or they have too few channels to be split.
    """
    kind, first = ENCODERS[config.name], getattr(config, "split", 0)
    if not first:
        return kind.build(config, inputs)
    groups = (first, inputs.channels - first)
    if groups[1] < 1:
        raise ConfigError(
            f"encoder.split={first} of {inputs.channels} channel{'s' * (inputs.channels > 1)} leaves none for the "
            "second encoder: use color images" + ", or a smaller encoder.split" * (inputs.channels > 1)
        )
    return SideBySide([kind.build(config, Inputs(count, inputs.image_size)) for count in groups], groups)
