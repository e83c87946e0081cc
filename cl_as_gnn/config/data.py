"""Settings of the data and of their views, and what all settings share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cl_as_gnn.errors import unknown
from cl_as_gnn.registry import DATASETS

Probability = Annotated[float, Field(ge=0, le=1)]
Probabilities = Probability | tuple[Probability, Probability]
SPACES = ("rgb", "ydbdr")
"""Color spaces that ``data.generator`` may name instead of a file."""
Shift = Literal["rotate", "blur", "noise", "cutout", "grey"]
SHIFTS: tuple[Shift, ...] = get_args(Shift)
"""Changes of test images that no probe has seen, see :mod:`cl_as_gnn.datasets.shifts`."""


class Settings(BaseModel):
    """Base class of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_truth(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("true and false mean nothing here")
        return value


def _names(value: Any) -> Any:
    """Names that YAML reads as numbers, such as those of digits, as texts."""
    if not isinstance(value, list | tuple):
        return value
    if any(isinstance(item, bool) for item in value):
        raise ValueError("expects names of classes: quote what YAML reads as true or false")
    return [str(item) if isinstance(item, int) else item for item in value]


def _classes(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is not None and (len(set(value)) < len(value) or len(value) < 2):
        raise ValueError(f"expects two or more names of classes, each once, got [{', '.join(value)}]")
    return value


Classes = Annotated[tuple[str, ...] | None, BeforeValidator(_names), AfterValidator(_classes)]


class AugmentConfig(Settings):
    """How one view is drawn from one image; each image of a batch gets its own draw."""

    crop_scale: tuple[float, float] = Field((0.2, 1.0), description="share of the image area that a crop keeps")
    crop_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="aspect ratio of the crop, drawn log-uniformly")
    distance: float | None = Field(
        None, ge=0, lt=1, description="crops of one image have one size and lie this share of its sides apart"
    )
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, in degrees either way")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: tuple[float, float, float, float] = Field(
        (0.4, 0.4, 0.4, 0.1), description="strength of brightness, contrast, saturation and hue (hue at most 0.5)"
    )
    jitter_prob: float = Field(0.8, ge=0, le=1, description="probability of jittering the colors")
    grayscale: float = Field(0.2, ge=0, le=1, description="probability of dropping the colors")
    # a pair holds the probabilities of views 0, 2, … and of views 1, 3, …
    blur: Probabilities = Field(0.0, description="probability of a Gaussian blur (sigma 0.1 to 2)")
    solarize: Probabilities = Field(0.0, description="probability of inverting what is brighter than half")
    local_views: int = Field(0, ge=0, le=14, description="how many of method.num_views are small views (multi-crop)")
    local_size: int | None = Field(None, ge=4, le=512, description="their side in pixels, None = 3/7 of the others'")
    local_scale: tuple[float, float] = Field((0.05, 0.25), description="share of the image area that they keep")

    @field_validator("jitter")
    @classmethod
    def _strengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 0 or value[3] > 0.5:
            raise ValueError(f"expects four strengths of at least 0, the last (hue) at most 0.5, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _within(self) -> AugmentConfig:
        widest = min(1.0, math.sqrt(self.crop_scale[1] * max(self.crop_ratio[1], 1 / self.crop_ratio[0])))
        if self.distance is not None and widest + self.distance > 1:
            raise ValueError(
                f"distance={self.distance:g} leaves no room for crops with sides of up to {widest:.2g} of the image's: "
                "lower crop_scale, as in crop_scale=[0.1, 0.1]"
            )
        return self

    @field_validator("crop_scale", "crop_ratio", "local_scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"expects two positive numbers, the smaller first, got {list(value)}")
        if info.field_name != "crop_ratio" and value[1] > 1:
            raise ValueError(f"expects shares of the image, at most 1, got {list(value)}")
        return value


class DataConfig(Settings):
    """Which images, and how views of them are drawn."""

    name: str = DATASETS.default
    root: Path | None = Field(None, description="folder that holds the data set (digits needs none)")
    classes: Classes = Field(None, description="names of the classes whose images are read, None = all images")
    image_size: int | None = Field(
        None, ge=4, le=512, description="side of the views in pixels, where a data set has any size"
    )
    validation: float = Field(0.1, ge=0, lt=0.9, description="share of the training images kept for choosing settings")
    split_seed: int = Field(0, ge=0, lt=2**31, description="seed of the split into training, validation and test")
    augment: AugmentConfig | None = Field(None, description="None = the recipe of the data set or of the image size")
    generator: str | None = Field(
        None, description="file of clgnn views that colors the images once; {seed} is that of the run; or ydbdr"
    )

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        if self.image_size is not None and not isinstance(self, PhotoConfig):
            raise ValueError(f"data.image_size={self.image_size} is for data.name=folder and the like: drop it")
        return self


class PhotoConfig(DataConfig):
    """Images of any size. Each picture is kept whole, resized to at most twice ``image_size``."""

    image_size: int | None = Field(
        None, ge=4, le=512, description="side of the views in pixels, None = that of the images, or 64 if they differ"
    )
    memory: float = Field(2.0, ge=0, description="GB; more images than that are decoded by the batch, not kept")
    cache: Path | None = Field(None, description="folder that keeps the decoded images, also for other runs")
    max_broken: float = Field(0.01, ge=0, lt=1, description="share of files that may be broken; they are left out")


class GraphAugmentConfig(Settings):
    """How one view is drawn from a graph; a pair holds the probabilities of views 0, 2, … and of views 1, 3, …"""

    drop_edge: Probabilities = Field(0.3, description="probability of dropping an edge")
    # a channel of all nodes, or (whole graphs) all channels of one node
    mask_feature: Probabilities = Field(0.3, description="probability of masking a feature")
    drop_node: Probabilities = Field(0.0, description="tu: probability of dropping a node with its edges")


_DATASETS = {
    "planetoid": ("Cora", "CiteSeer", "PubMed"),
    "amazon": ("Computers", "Photo"),
    "coauthor": ("CS", "Physics"),
    "ogb": ("ogbn-arxiv", "ogbn-products"),
    "tu": (),  # MUTAG, PROTEINS, … any of them
}


class GraphDataConfig(Settings):
    """Which graph, or graphs, and how views of them are drawn."""

    name: str = "karate"
    root: Path | None = Field(None, description="folder that holds the data set (karate and communities need none)")
    dataset: str | None = Field(
        None, description="which of planetoid, amazon, coauthor, ogb or tu, see clgnn data NAME"
    )
    normalize: bool = Field(True, description="scale the features of each node to sum to one")
    augment: GraphAugmentConfig = GraphAugmentConfig()

    @model_validator(mode="after")
    def _fits(self) -> GraphDataConfig:
        if self.dataset is not None and self.name not in _DATASETS:
            raise ValueError(f"data.dataset={self.dataset} is for data.name={', '.join(_DATASETS)}: drop it")
        if (known := _DATASETS.get(self.name)) and self.dataset not in (None, *known):
            raise ValueError(unknown("value", str(self.dataset), known, key="data.dataset"))
        if self.name not in ("tu", "given_graphs") and self.augment.drop_node not in (0, (0, 0)):
            raise ValueError(
                f"data.augment.drop_node={self.augment.drop_node}: a node must be in every view to be contrasted; "
                "dropping nodes is for whole graphs (data.name=tu)"
            )
        return self
