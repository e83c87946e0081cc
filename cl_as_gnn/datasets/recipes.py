"""How views of images are drawn where a config leaves it open: by the data set, their size and the method."""

from __future__ import annotations

from typing import NamedTuple

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets.base import ImageDataset

SMALL_SIDE = 64
"""Up to this side, in pixels, views are drawn as :class:`AugmentConfig` says."""


class Recipe(NamedTuple):
    """A published recipe for ImageNet and where it is from."""

    source: str
    augment: AugmentConfig


MOCO = Recipe("MoCo v2, SimSiam", AugmentConfig(blur=0.5))
"""Chen et al. 2020, arXiv:2003.04297, and Chen and He 2021, arXiv:2011.10566."""

BYOL = Recipe(
    "BYOL, Barlow Twins, VICReg",
    AugmentConfig(crop_scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=(1.0, 0.1), solarize=(0.0, 0.2)),
)
"""Grill et al. 2020, arXiv:2006.07733, table 6; the two views of an image are blurred and solarized unequally."""


def recipe_of(source: type[ImageDataset], side: int, unequal: bool) -> Recipe | None:
    """The recipe of views of ``side`` px; None if they are small, or if the data set has a recipe of its own.

    Args:
        source: the data set.
        side: of the views, in pixels.
        unequal: whether the method takes the views of BYOL.
    """
    if side <= SMALL_SIDE or source.augment is not ImageDataset.augment:
        return None
    return BYOL if unequal else MOCO


def completed(recipe: AugmentConfig, given: AugmentConfig | None) -> AugmentConfig:
    """A recipe under the settings that a config gives."""
    own = {} if given is None else given.model_dump(exclude_unset=True)
    return AugmentConfig.model_validate(recipe.model_dump() | own)


def told(recipe: Recipe, augment: AugmentConfig) -> str:
    """One line on views that follow a recipe, with the settings that are not the defaults."""
    plain = AugmentConfig().model_dump()
    changes = [f"{key}={_short(value)}" for key, value in augment.model_dump().items() if value != plain[key]]
    return f"views as of {recipe.source} (data.augment: {' '.join(changes)})"


def _short(value: object) -> str:
    return f"[{','.join(map(_short, value))}]" if isinstance(value, tuple) else str(value)
