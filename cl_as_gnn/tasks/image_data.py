"""The images of a run, and the other labeled images on which it is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.config import DataConfig, PhotoConfig, RunConfig
from cl_as_gnn.datasets import DATASETS, ImageData, load_images
from cl_as_gnn.datasets.view_generator import generated, load_generator
from cl_as_gnn.encoders import ENCODERS, Encoder
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
    return None if config.eval.root is None else _labeled(config, "eval.root", like, progress)


def transfer_data(config: RunConfig, like: ImageData, progress: bool = True) -> ImageData | None:
    """The labeled images of ``eval.transfer``, or of the run's own data set, in the size of ``like``.

    Returns:
        those of ``eval.transfer_classes``, if these are set; ``None`` if neither setting is.

    Raises:
        ConfigError: they cannot be read or hold no labels.
    """
    if config.eval.transfer is not None:
        return _labeled(config, "eval.transfer", like, progress, config.eval.transfer_classes)
    if config.eval.transfer_classes is None:
        return None
    data = config.data.model_copy(update={"classes": config.eval.transfer_classes})
    if isinstance(data, PhotoConfig):
        data = data.model_copy(update={"image_size": like.image_size})
    other = _other(config, data, {"data.classes": "eval.transfer_classes"}, progress)
    if not len(other.test):
        raise ConfigError(f"data.name={config.data.name} has no test images to transfer to: name some by eval.transfer")
    return other


def _labeled(
    config: RunConfig, key: str, like: ImageData, progress: bool, classes: tuple[str, ...] | None = None
) -> ImageData:
    """The images of the folder that ``eval.root`` or ``eval.transfer`` names."""
    root = getattr(config.eval, key.removeprefix("eval."))
    share = getattr(config.data, "validation", 0) if config.eval.split == "validation" else 0
    section = {"name": "folder", "root": root, "image_size": like.image_size, "validation": share, "classes": classes}
    section["generator"] = config.generator
    folder = DATASETS["folder"].Config.model_validate(section)
    named = {"data.root": key, "data.classes": "eval.transfer_classes"}
    data = _other(config, folder, named, progress)
    if not (data.classes and len(data.test)):
        raise ConfigError(f"{key}={root} holds no labels: give a folder with <class>/*, or train/ and test/ of them")
    return data


def _other(config: RunConfig, section: Any, named: dict[str, str], progress: bool) -> ImageData:
    """Other images scored as those of the run; an error calls the settings of these by the keys ``named``."""
    try:
        return scored_data(config.model_copy(update={"data": section}), progress)
    except ConfigError as error:
        text = str(error)
        for old, new in named.items():
            text = text.replace(old, new)
        raise ConfigError(text) from None


def in_channels(images: Tensor, channels: int) -> Tensor:
    """Gray images as RGB or the reverse, where a run has the other number of channels."""
    if images.size(1) == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # those of Pillow
    return (images * weights).sum(1, keepdim=True).round().byte()


def check_size(encoder: Encoder, channels: int, side: int) -> None:
    """Raise ConfigError if an encoder cannot read images of ``side`` px, as those of the small views."""
    trained = encoder.training
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(1, channels, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"data.augment.local_views: the encoder cannot read views of {side} px ({reason}): set "
            "data.augment.local_size, or use an encoder for images of any size"
        ) from None
    encoder.train(trained)
