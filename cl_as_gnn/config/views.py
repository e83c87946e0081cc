"""Settings of ``clgnn views``: those of a run of ``cmc``, and how the generator is trained against its encoders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from cl_as_gnn.config.data import Settings
from cl_as_gnn.config.load import build_config, merge, parse_overrides, read_yaml, told
from cl_as_gnn.config.tree import RunConfig
from cl_as_gnn.errors import ConfigError, unknown

# Sections of the run against which the generator is trained; eval.split decides on the training images.
_SECTIONS = ("data", "encoder", "method", "optim", "trainer", "eval", "seed")
_BASE = {"method": {"name": "cmc"}, "trainer": {"batch_size": 128}}


class ViewsConfig(Settings):
    """How a view generator is trained."""

    mode: Literal["unsupervised", "semi"] = Field("semi", description="semi: also by the labels of some images")
    space: Literal["rgb", "ydbdr"] = Field("rgb", description="color space in which the generator works")
    labels: int = Field(2000, ge=1, description="mode=semi: labeled images that are used at most")
    warmup: int = Field(50, ge=0, description="steps in which the encoders alone learn")
    steps: int = Field(100, ge=1, description="steps in which the generator learns against the encoders")
    lr: float = Field(4e-3, gt=0, description="learning rate of the generator; that of the encoders is optim.lr")
    hidden: int = Field(8, ge=1, le=1024, description="channels between the two 1×1 convolutions of a coupling")


def load_views(path: Path | None, overrides: Iterable[str]) -> tuple[RunConfig, ViewsConfig]:
    """Read the settings of ``clgnn views``: a run of ``cmc``, and the training of the generator.

    Raises:
        ConfigError: one line that names the key, the value and the cure.
    """
    tree = merge(read_yaml(path) if path else {}, parse_overrides(overrides))
    fields = ViewsConfig.model_fields
    for key in tree:
        if key not in fields and key not in _SECTIONS:
            raise ConfigError(unknown("setting", key, (*fields, *_SECTIONS)))
    own = {key: tree.pop(key) for key in list(tree) if key in fields}
    try:
        views = ViewsConfig.model_validate(own)
    except ValidationError as error:
        first: Any = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{key}={first['input']}: {told(first)}") from None
    config = build_config(merge(_BASE, tree))
    if config.method.name != "cmc":
        raise ConfigError(f"method.name={config.method.name}: a view generator is trained against cmc, drop it")
    if config.generator is not None:
        raise ConfigError(f"data.generator={config.generator}: clgnn views trains one from images as they are, drop it")
    return config, views
