"""timm's models as encoders."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cl_as_gnn.encoders.backbone import Backbone, BackboneConfig, fit_stem, unknown_model
from cl_as_gnn.encoders.base import Inputs
from cl_as_gnn.errors import ConfigError, reason


class TimmConfig(BackboneConfig):
    name: str = "timm/<model>"


class TimmEncoder(Backbone):
    """A model of timm without its classifier, with timm's own pooling.

    Models of a fixed size, such as ViTs, are made for that of the images. A ResNet gets the 3×3 stem for images of at
    most 64 px.
    """

    Config = TimmConfig
    summary = "any model of timm: ViT, ConvNeXt, ResNet, …; a ResNet has the 3×3 stem for images of up to 64 px"

    @classmethod
    def make(cls, config: TimmConfig, channels: int, side: int, **more: Any) -> nn.Module:
        import timm
        from timm.models.resnet import ResNet

        if _settings(config).fixed_input_size:
            more["img_size"] = side
        if config.drop_path is not None:
            more["drop_path_rate"] = config.drop_path
        try:
            body: nn.Module = timm.create_model(config.model, num_classes=0, in_chans=channels, **more)
        except TypeError as error:
            if "drop_path_rate" not in str(error):
                raise
            raise ConfigError(
                f"encoder.drop_path={config.drop_path}: {config.name} has no stochastic depth, drop it"
            ) from None
        except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
            raise ConfigError(
                f"encoder.name={config.name} cannot be made for images of {channels} × {side} × {side} "
                f"({reason(error)}): choose another data.image_size or encoder"
            ) from None
        if isinstance(body, ResNet) and side <= 64:
            fit_stem(body, channels, side)
        return body

    @classmethod
    def pretrained(cls, config: TimmConfig, inputs: Inputs) -> dict[str, Tensor]:
        import timm

        fixed: dict[str, Any] = {"img_size": inputs.image_size} if _settings(config).fixed_input_size else {}
        try:
            model = timm.create_model(config.model, pretrained=True, num_classes=0, in_chans=inputs.channels, **fixed)
        except (OSError, RuntimeError) as error:  # of the hub's client, and of timm for a model without weights
            raise ConfigError(
                f"encoder.weights=pretrained: those of {config.name} are neither in the cache nor can be fetched "
                f"({reason(error)}): name a file"
            ) from None
        state: dict[str, Tensor] = model.state_dict()
        return state

    @classmethod
    def own_size(cls, config: TimmConfig) -> int | None:
        size = _settings(config).input_size
        return int(size[-1]) if size else None

    @classmethod
    def own_stats(cls, config: TimmConfig) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if config.weights is None:
            return None
        settings = _settings(config)
        return tuple(settings.mean), tuple(settings.std)


def _settings(config: TimmConfig) -> Any:
    """timm's record of a model: sizes and statistics; ConfigError if there is no such model."""
    import timm
    from timm.models import PretrainedCfg

    if not timm.is_model(config.model):
        raise ConfigError(unknown_model(config.name, timm.list_models(), "timm.list_models()"))
    try:
        return timm.get_pretrained_cfg(config.model) or PretrainedCfg()
    except RuntimeError:
        models = f"{config.model.partition('.')[0]}.*"
        known = timm.list_pretrained(models)
        raise ConfigError(unknown_model(config.name, known, f"timm.list_pretrained({models!r})")) from None
