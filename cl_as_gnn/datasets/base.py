"""Base classes of the data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from cl_as_gnn.config import AugmentConfig, DataConfig, GraphDataConfig
from cl_as_gnn.datasets.images import ImageData, Parts, Split, split_off
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS


class Dataset:
    """Base class of data sets. A subclass sets ``Config``, whose ``name`` is the name of the data set."""

    Config: ClassVar[type[DataConfig] | type[GraphDataConfig]]
    holds: ClassVar[str]
    """What the samples are: ``images``, ``nodes`` or ``graphs``."""
    summary: ClassVar[str] = ""
    """One line for ``clgnn data``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            DATASETS.register(cls)

    @classmethod
    def load(cls, config: Any, progress: bool = True) -> Any:
        """Read the data that a config names: ``ImageData``, ``NodeData`` or ``GraphSet``.

        Raises:
            ConfigError: a path, the layout of a folder or a split is wrong.
            RunError: files cannot be decoded.
        """
        raise NotImplementedError

    @classmethod
    def recipe(cls, data: Mapping[str, Any], method: str | None) -> Mapping[str, Any]:
        """Return the settings that a config leaves open, by section, given its section ``data`` and its method."""
        return {}


class ImageDataset(Dataset):
    """Base class of sets of images: a stratified share of the training images becomes the validation set.

    The splits depend on the images and on ``config.split_seed`` alone, never on a training seed.
    """

    holds = "images"
    augment: ClassVar[AugmentConfig] = AugmentConfig()
    """How views are drawn unless the config says otherwise; sets that leave it as it is take that of their size."""

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts | tuple[tuple[str, ...], Split, Split]:
        """Read ``(classes, train, test)``, or :class:`Parts` where more is known."""
        raise NotImplementedError

    @classmethod
    def load(cls, config: Any, progress: bool = True) -> ImageData:
        parts = Parts(*cls.parts(config, progress))
        train, validation, notes = parts.train, parts.validation, parts.notes
        if validation is None and config.validation > 0 and parts.classes and len(parts.test):
            purpose = f"data.validation={config.validation:g}"
            try:
                train, validation = split_off(train, config.validation, parts.classes, purpose, config.split_seed)
            except ConfigError as error:
                notes += (f"no validation images: {error}",)
        validation = train.take(torch.arange(0)) if validation is None else validation
        train = train if parts.unlabeled is None else train.joined(parts.unlabeled)
        return ImageData(config.name, parts.classes, train, validation, parts.test, parts.side, notes, parts.broken)


def load_images(config: DataConfig, progress: bool = True) -> ImageData:
    """Read the images that a config names, those of ``config.classes`` alone if it has any.

    ``progress`` shows a bar on stderr while a folder is decoded.
    """
    data: ImageData = DATASETS[config.name].load(config, progress)
    return data if config.classes is None else data.restricted(config.classes)
