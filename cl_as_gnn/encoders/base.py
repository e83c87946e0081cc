"""Base class of the encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import ENCODERS


@dataclass(frozen=True)
class Inputs:
    """What an encoder is built for."""

    channels: int
    """Channels of an image, or features of a node."""
    image_size: int | None = None
    """Side of the images in pixels; ``None`` for graphs."""
    pool: str | None = None
    """How node features become those of a graph, ``sum``, ``mean`` or ``max``; ``None`` for images and nodes."""


class Encoder(nn.Module):
    """Base class of encoders: inputs to features ``(n, out_dim)``.

    A subclass sets ``Config``, whose ``name`` is the name of the encoder, and implements :meth:`build`.
    """

    Config: ClassVar[type[EncoderConfig]]
    reads: ClassVar[tuple[str, ...]] = ("images",)
    """What the samples are: ``images``, ``nodes``, ``graphs``."""
    summary: ClassVar[str] = ""
    """One line for ``clgnn encoders``."""
    has_patches: ClassVar[bool] = False
    """Whether it works on patches that a method can hide."""
    out_dim: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            ENCODERS.register(cls)

    @classmethod
    def build(cls, config: Any, inputs: Inputs) -> Encoder:
        """Build the encoder of a config with random weights, or raise ``ConfigError`` if it cannot read such inputs."""
        raise NotImplementedError

    @classmethod
    def own_size(cls, config: Any) -> int | None:
        """Return the side of the images that the encoder of a config was designed for; ``None``: any."""
        return None

    @classmethod
    def own_stats(cls, config: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and deviation of each channel, from 0 to 1, that the weights of a config expect, if any."""
        return None

    def maps(self, x: Tensor) -> Tensor:
        """Return the features of images by position, ``(n, c, h, w)``; ConfigError if the encoder gives none."""
        raise ConfigError(
            f"{type(self).__name__} gives no features by position: name a run with encoder.name=small or vit"
        )

    @property
    def network(self) -> nn.Module:
        """The module whose parameter names an export has."""
        return self

    def start(self, config: Any) -> list[str]:
        """Load the weights that training starts from, if the config names any; return one line on each difference."""
        return []

    def rate_factors(self) -> dict[str, float]:
        """Factors on the learning rate by name of the parameter; parameters that are not named have factor 1."""
        return {}

    def no_weight_decay(self) -> set[str]:
        """Name the parameters without weight decay: here vectors, which are biases and normalization."""
        return {name for name, parameter in self.named_parameters() if parameter.dim() <= 1}


def image_side(inputs: Inputs) -> int:
    """Return the side of the images, or raise ``ConfigError`` unless they are large enough to encode."""
    if inputs.image_size is None or inputs.image_size < 4 or inputs.channels < 1:
        raise ConfigError(
            f"an encoder of images expects at least 1 channel and a side of 4 px, got {inputs.channels} and "
            f"{inputs.image_size}"
        )
    return inputs.image_size
