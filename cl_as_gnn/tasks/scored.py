"""The images of a run: which split is scored, and where from."""

from __future__ import annotations

from dataclasses import replace

import torch

from cl_as_gnn.config import DataConfig, PhotoConfig, RunConfig
from cl_as_gnn.datasets import DATASETS, ImageData, load_images
from cl_as_gnn.datasets.view_generator import generated, load_generator
from cl_as_gnn.encoders import ENCODERS
from cl_as_gnn.errors import ConfigError


def sized(config: RunConfig, section: DataConfig) -> DataConfig:
    """The settings of the images with the size that weights to start from expect, unless the config names one."""
    encoder = ENCODERS[config.encoder.name]
    if isinstance(section, PhotoConfig) and section.image_size is None and encoder.own_stats(config.encoder):
        return section.model_copy(update={"image_size": encoder.own_size(config.encoder)})
    return section


def scored_data(config: RunConfig, progress: bool = True) -> ImageData:
    """The images of a run: ``test`` is the scored split, ``train`` serves training and as reference.

    Raises:
        ConfigError: the data are graphs, cannot be read, or lack the split that ``eval.split`` names.
    """
    if not isinstance(config.data, DataConfig):
        raise ConfigError(f"data.name={config.data.name} is a graph, and this command looks at images")
    name = config.generator
    generator = None if name is None else load_generator(name)  # a mistake is told before images are read
    data = load_images(sized(config, config.data), progress)
    if config.eval.split == "test" or (not data.classes and config.eval.root is not None):
        data = data.pooled()
    elif not data.classes:
        raise ConfigError("eval.split=validation expects labels: drop it, or name labeled images with eval.root=FOLDER")
    elif not len(data.validation):
        raise ConfigError("eval.split=validation expects validation images: set data.validation, for example to 0.1")
    else:
        data = replace(data, validation=data.validation.take(torch.arange(0)), test=data.validation)
    return data if generator is None else generated(data, generator, str(name), progress)


def probed_data(config: RunConfig, like: ImageData, progress: bool = True) -> ImageData | None:
    """The labeled images of ``eval.root`` in the size of ``like``; ``None`` if it is not set.

    Raises:
        ConfigError: ``eval.root`` cannot be read or holds no labels.
    """
    root = config.eval.root
    if root is None:
        return None
    share = getattr(config.data, "validation", 0) if config.eval.split == "validation" else 0
    section = {"name": "folder", "root": root, "image_size": like.image_size, "validation": share}
    section["generator"] = config.generator
    folder = DATASETS["folder"].Config.model_validate(section)
    try:
        data = scored_data(config.model_copy(update={"data": folder}), progress)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.root", "eval.root")) from None
    if not (data.classes and len(data.test)):
        raise ConfigError(
            f"eval.root={root} holds no labels: give a folder with <class>/*, or train/ and test/ of them"
        )
    return data
