"""torchvision's models as encoders."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision import models
from torchvision.ops import StochasticDepth

from cl_as_gnn.encoders.backbone import Backbone, BackboneConfig, fit_stem, unknown_model
from cl_as_gnn.encoders.base import Inputs
from cl_as_gnn.errors import ConfigError, reason


class TorchvisionConfig(BackboneConfig):
    name: str = "torchvision/<model>"


class TorchvisionEncoder(Backbone):
    """A classification model of torchvision without its classifier.

    The whole ``fc``, ``classifier``, ``head`` or ``heads`` is removed; ConvNeXt keeps the normalization in it. A ResNet
    gets the 3×3 stem for images of at most 64 px.
    """

    Config = TorchvisionConfig
    summary = "any classification model of torchvision: MobileNet, EfficientNet, Swin, …; a ResNet as under timm"
    stages: ClassVar = {
        "stem": r"conv1|bn1|stem|conv_proj|class_token|encoder\.pos_embedding"
        r"|features\.(?:0\.|conv0|norm0)|layers\.0\.",
        "blocks": r"(?:layers?|encoder\.layers\.encoder_layer_|trunk_output\.block|stage|blocks"
        r"|features\.(?:denseblock|transition)?)\.?(\d+)",
    }

    @classmethod
    def make(cls, config: TorchvisionConfig, channels: int, side: int) -> nn.Module:
        _weights(config)
        sizes: dict[str, Any] = {"vit": {"image_size": side}, "maxvit": {"input_size": (side, side)}}
        more = sizes.get(config.model.partition("_")[0], {})
        if config.model in ("googlenet", "inception_v3"):
            more = {"aux_logits": False, "init_weights": True}
        try:
            body: nn.Module = models.get_model(config.model, **more)
        except Exception as error:  # torch reports a size that does not fit as an assertion or a shape
            raise ConfigError(
                f"encoder.name={config.name} cannot be made for images of {side} px ({reason(error)}): choose another "
                "data.image_size or encoder"
            ) from None
        _remove_classifier(body)
        if isinstance(body, models.ResNet):
            fit_stem(body, channels, side)
        elif channels != 3:
            _replace_first(body, channels)
        _set_drop_path(body, config)
        return body

    @classmethod
    def pretrained(cls, config: TorchvisionConfig, inputs: Inputs) -> dict[str, Tensor]:
        try:
            state: dict[str, Tensor] = _weights(config).get_state_dict(progress=False)
        except OSError as error:
            raise ConfigError(
                f"encoder.weights=pretrained: those of {config.name} are neither in the cache nor can be fetched "
                f"({error}): name a file"
            ) from None
        return state

    @classmethod
    def own_size(cls, config: TorchvisionConfig) -> int | None:
        return int(_weights(config).transforms().crop_size[0])

    @classmethod
    def own_stats(cls, config: TorchvisionConfig) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if config.weights is None:
            return None
        recipe = _weights(config).transforms()
        return tuple(recipe.mean), tuple(recipe.std)


def _weights(config: TorchvisionConfig) -> Any:
    """The published weights of a model, not loaded; ConfigError if there is no such model."""
    known = models.list_models(module=models)
    if config.model not in known:
        raise ConfigError(unknown_model(config.name, known, "torchvision.models.list_models()"))
    return models.get_model_weights(config.model).DEFAULT


def _remove_classifier(body: nn.Module) -> None:
    name = next(name for name in ("fc", "classifier", "heads", "head") if hasattr(body, name))
    head = getattr(body, name)
    if not any(isinstance(part, nn.Linear) for part in head.modules()):
        setattr(body, name, nn.AdaptiveAvgPool2d(1))  # SqueezeNet pools after its classifier
    elif isinstance(head, nn.Sequential) and isinstance(head[0], nn.LayerNorm):
        head[-1] = nn.Identity()
    else:
        setattr(body, name, nn.Identity())


def _replace_first(body: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels."""
    name, conv = next((n, m) for n, m in body.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, own = name.rpartition(".")
    shape: Any = {"kernel_size": conv.kernel_size, "stride": conv.stride, "padding": conv.padding}
    new = nn.Conv2d(channels, conv.out_channels, **shape, bias=conv.bias is not None)
    setattr(body.get_submodule(parent), own, new)


def _set_drop_path(body: nn.Module, config: TorchvisionConfig) -> None:
    if config.drop_path is None:
        return
    layers = [layer for layer in body.modules() if isinstance(layer, StochasticDepth)]
    if not layers:
        raise ConfigError(f"encoder.drop_path={config.drop_path}: {config.name} has no stochastic depth, drop it")
    for i, layer in enumerate(layers):  # rises linearly to the last block
        layer.p = config.drop_path * i / max(1, len(layers) - 1)
