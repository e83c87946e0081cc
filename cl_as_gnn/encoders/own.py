"""A network of the user's own code as the encoder."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from cl_as_gnn.compat import import_named
from cl_as_gnn.encoders.backbone import Backbone, BackboneConfig
from cl_as_gnn.errors import ConfigError, reason


class OwnConfig(BackboneConfig):
    name: str = "<module>:<class>"


class OwnEncoder(Backbone):
    """An ``nn.Module`` from a class or a function, which is called without arguments or with ``in_channels``."""

    Config = OwnConfig
    summary = "an nn.Module of yours: a class or function, called without arguments or with in_channels"

    @classmethod
    def make(cls, config: OwnConfig, channels: int, side: int) -> nn.Module:
        try:
            maker = import_named(config.name)
            takes = "in_channels" in inspect.signature(maker).parameters
            body: Any = maker(in_channels=channels) if takes else maker()
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(
                f"encoder.name={config.name} cannot be made ({reason(error)}): name an importable "
                "module and a class in it, which takes no arguments or in_channels"
            ) from None
        if not isinstance(body, nn.Module):
            raise ConfigError(f"encoder.name={config.name} makes a {type(body).__name__}, not an nn.Module")
        if config.drop_path is not None:
            raise ConfigError(f"encoder.drop_path={config.drop_path} is for models of timm and torchvision: drop it")
        return body
