"""Networks of images as encoders: what this package's, timm's, torchvision's and one's own have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.base import Encoder, Inputs, image_side
from cl_as_gnn.encoders.batch_norm import synchronize
from cl_as_gnn.encoders.weights import load_weights, read_weights
from cl_as_gnn.errors import ConfigError, reason


class BackboneConfig(EncoderConfig):
    """Settings of every network of images."""

    weights: str | None = Field(None, description="file of weights to start from, or pretrained")
    freeze: int = Field(0, ge=0, description="first parts that are not trained: 1 the stem, 2 also the first stage")
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor on the learning rate from a layer to the one below")
    drop_path: float | None = Field(None, ge=0, lt=1, description="stochastic depth of the last block, None = its own")
    checkpointing: bool = Field(False, description="compute activations again in the backward pass, to save memory")
    split: int = Field(0, ge=0, description="first channels, which get an encoder of their own; 0: one encoder for all")

    @property
    def model(self) -> str:
        """The name without that of its package."""
        return self.name.partition("/")[2] or self.name


def unknown_model(name: str, known: Iterable[str], listing: str) -> str:
    """One line about a model that its package does not have, with the nearest that it has."""
    package, _, model = name.partition("/")
    close = [f"{package}/{other}" for other in difflib.get_close_matches(model, list(known), n=3)]
    cure = f"did you mean {', '.join(close)}?" if close else f"{listing} names those that there are"
    return f"unknown encoder.name={name}: {cure}"


def fit_stem(net: Any, in_channels: int, image_size: int) -> None:
    """Give a ResNet a stem for its images, in place: that of SimCLR for CIFAR up to 64 px."""
    width: int = net.bn1.num_features
    if image_size <= 64:
        net.conv1 = nn.Conv2d(in_channels, width, 3, stride=1, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")


class Backbone(Encoder):
    """A network without its classifier, as an encoder: ``(n, C, S, S) -> (n, out_dim)``.

    A subclass makes the network, knows its pretrained weights and, if the network does not say so itself by timm's
    ``group_matcher(coarse)``, the order of its layers.
    """

    stages: ClassVar[Mapping[str, Any]] = {}
    """Regular expressions that find the layers of a network without ``group_matcher``, in timm's form."""

    @classmethod
    def build(cls, config: Any, inputs: Inputs) -> Encoder:
        side = image_side(inputs)
        body = cls.make(config, inputs.channels, side)
        synchronize(body)
        return cls(body, config, inputs).to(memory_format=torch.channels_last)

    @classmethod
    def make(cls, config: Any, channels: int, side: int) -> nn.Module:
        """Make the network of a config with random weights, or raise ``ConfigError``."""
        raise NotImplementedError

    @classmethod
    def pretrained(cls, config: Any, inputs: Inputs) -> dict[str, Tensor]:
        """Return the weights that the package of the network publishes, or raise ``ConfigError``."""
        raise ConfigError(f"encoder.weights=pretrained: {config.name} has no published weights, name a file of yours")

    def __init__(self, body: nn.Module, config: BackboneConfig, inputs: Inputs):
        super().__init__()
        self._still: tuple[str, ...] = ()
        self.body, self.inputs, self.layer_decay = body, inputs, config.layer_decay
        self.out_dim = self._measure(config.name)
        self._numbers = self._layers(config, "layer_decay", coarse=False) if config.layer_decay < 1 else {}
        if config.freeze:
            self._freeze(config)
        if config.checkpointing:
            self._save_memory(config)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x)
        return features.flatten(1)

    @property
    def network(self) -> nn.Module:
        return self.body

    @torch.no_grad()
    def _measure(self, name: str) -> int:
        """The width of the features, by encoding two images."""
        channels, side = self.inputs.channels, self.inputs.image_size
        assert side is not None
        was_training = self.training
        self.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                out: Any = self(torch.zeros(2, channels, side, side))
        except Exception as error:  # whatever the code of another package raises
            raise ConfigError(
                f"encoder.name={name} cannot read images of {channels} × {side} × {side} "
                f"({reason(error)}): choose another data.image_size or encoder"
            ) from None
        self.train(was_training)
        if not isinstance(out, Tensor) or out.shape[:1] != (2,) or not out.is_floating_point() or out.dim() != 2:
            raise ConfigError(f"encoder.name={name} expects a network that maps n images to n features")
        return out.size(1)

    def start(self, config: Any) -> list[str]:
        if config.weights is None:
            return []
        state = self.pretrained(config, self.inputs) if config.weights == "pretrained" else read_weights(config.weights)
        return load_weights(self.body, state, config.weights)

    def _layers(self, config: BackboneConfig, setting: str, coarse: bool) -> dict[str, int]:
        """Number the parameters by layer (coarse: by stage) from the input, with the stem as 0."""
        from timm.models import group_parameters

        matcher: Any = getattr(self.body, "group_matcher", None)
        groups = matcher(coarse=coarse) if matcher else self.stages
        found: dict[str, int] = group_parameters(self.body, groups, reverse=True) if groups else {}
        if len(set(found.values())) < 2:
            value = getattr(config, setting)
            raise ConfigError(
                f"encoder.{setting}={value}: the order of the layers of {config.name} is not known; drop it, or give "
                "the network a group_matcher as timm's have"
            )
        return found

    def _freeze(self, config: BackboneConfig) -> None:
        layers = self._layers(config, "freeze", coarse=True)
        count = max(layers.values()) + 1
        if config.freeze >= count:
            raise ConfigError(
                f"encoder.freeze={config.freeze}: {config.name} has {count} parts, freeze at most {count - 1}"
            )
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(layers[name] >= config.freeze)
        norms = [(name, m) for name, m in self.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self._still = tuple(name for name, m in norms if m.weight is not None and not m.weight.requires_grad)
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for name in self._still:  # the statistics of frozen layers are frozen too
            self.get_submodule(name).eval()
        return self

    def _save_memory(self, config: BackboneConfig) -> None:
        try:
            self.body.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AttributeError, AssertionError):  # timm's models without it assert that it stays off
            raise ConfigError(
                f"encoder.checkpointing=true: {config.name} has no gradient checkpointing, drop it"
            ) from None

    def rate_factors(self) -> dict[str, float]:
        top = max(self._numbers.values(), default=0)
        return {f"body.{name}": self.layer_decay ** (top - number) for name, number in self._numbers.items()}

    def no_weight_decay(self) -> set[str]:
        own: Any = getattr(self.body, "no_weight_decay", set)
        tokens = {f"body.{name}" for name in own()}
        tokens |= {name for name, _ in self.named_parameters() if name.endswith(("class_token", "pos_embedding"))}
        return super().no_weight_decay() | tokens
