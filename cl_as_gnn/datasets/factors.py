"""Digits that move over photographs: what two frames share decides what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets.base import ImageDataset, load_images
from cl_as_gnn.datasets.digits import DigitsConfig
from cl_as_gnn.datasets.folder import FolderConfig
from cl_as_gnn.datasets.images import ImageData, Split
from cl_as_gnn.errors import ConfigError

FACTORS = ("digit", "background", "position")
SIDE, DIGIT_SIDE = 32, 16
ROOM = SIDE - DIGIT_SIDE
"""Positions of a digit run from 0 to this, in pixels."""
_SHIFT, _JITTER, _BRIGHTNESS = 3, 1, 0.3
_CONTRAST = 1.4
_CHUNK = 1024


class FactorsConfig(DataConfig):
    name: Literal["factors"] = "factors"
    share: tuple[Literal["digit", "background", "position"], ...] = Field(
        ("digit",), description="what all views of a frame share; the rest is drawn anew for each view"
    )
    frames: int = Field(10240, ge=100, le=2**20, description="number of training frames; a quarter as many are scored")

    @field_validator("share")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"expects one to three of {', '.join(FACTORS)}, each once, got {list(value)}")
        return value


class Frames(NamedTuple):
    """The factors of n frames: indices of a digit and a background ``(n,)``, top and left of the digit ``(n, 2)``."""

    digit: Tensor
    background: Tensor
    position: Tensor


class Layers(nn.Module):
    """Images of digits and of backgrounds, from which frames are made.

    Args:
        digits: gray images, uint8 ``(D, 1, 8, 8)``.
        backgrounds: RGB photographs, uint8 ``(K, 3, 32, 32)``.
    """

    def __init__(self, digits: Tensor, backgrounds: Tensor):
        super().__init__()
        large = F.interpolate(digits.float(), (DIGIT_SIDE, DIGIT_SIDE), mode="bicubic", align_corners=False)
        self.digits = nn.Buffer((large.squeeze(1) * (_CONTRAST / 255)).clamp(0, 1), persistent=False)
        self.backgrounds = nn.Buffer(backgrounds, persistent=False)

    def draw(self, count: int, generator: torch.Generator | None) -> Frames:
        """Frames of factors that are drawn independently and uniformly."""
        device = self.digits.device

        def integers(most: int, *shape: int) -> Tensor:
            return torch.randint(most, shape, generator=generator, device=device)

        kinds = integers(len(self.digits), count), integers(len(self.backgrounds), count)
        return Frames(*kinds, integers(ROOM + 1, count, 2))

    def paint(self, frames: Frames, shift: Tensor | None = None, flip: Tensor | None = None) -> Tensor:
        """White digits over their backgrounds, float32 ``(n, 3, 32, 32)`` from 0 to 1.

        Args:
            frames: the factors.
            shift: rows and columns by which the backgrounds move, reflected at their borders, ``(n, 2)``.
            flip: whether each background is mirrored, ``(n,)``.
        """
        n, device = len(frames.digit), self.digits.device
        side = torch.arange(SIDE, device=device)
        rows, columns = side.expand(n, -1), side.expand(n, -1)
        if flip is not None:
            columns = torch.where(flip[:, None], SIDE - 1 - columns, columns)
        if shift is not None:
            rows, columns = (_reflected(at + by[:, None]) for at, by in zip((rows, columns), shift.t(), strict=True))
        scene = self.backgrounds[frames.background[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        scene = scene.permute(0, 3, 1, 2).float() / 255
        inside = torch.arange(DIGIT_SIDE, device=device)
        tall, wide = (frames.position[:, i, None] + inside for i in (0, 1))
        alpha = scene.new_zeros(n, SIDE, SIDE)
        index = torch.arange(n, device=device)[:, None, None]
        alpha[index, tall[:, :, None], wide[:, None, :]] = self.digits[frames.digit]
        return torch.lerp(scene, torch.ones_like(scene), alpha[:, None])

    def images(self, frames: Frames) -> Tensor:
        """The frames as uint8 images ``(n, 3, 32, 32)``."""
        parts = (Frames(*part) for part in zip(*(values.split(_CHUNK) for values in frames), strict=True))
        return torch.cat([self.paint(part).mul_(255).round_().byte() for part in parts])


class FactorViews(nn.Module):
    """Views of frames: the shared factors are those of the frame, the others and some nuisance are drawn anew.

    The background is mirrored half of the time and moved by up to 3 px, the digit by up to 1 px, and the brightness
    changes by up to 30 %.

    Args:
        layers: what the frames are made of.
        frames: the frames that have views.
        share: factors that all views of a frame share.
        mean, std: of each channel, which normalize the views.
    """

    def __init__(
        self, layers: Layers, frames: Frames, share: Sequence[str], mean: Sequence[float], std: Sequence[float]
    ):
        super().__init__()
        self.layers, self.share = layers, frozenset(share)
        for name, values in frames._asdict().items():
            self.register_buffer(name, values, persistent=False)
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, index: Tensor, num_views: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Normalized views ``(num_views · B, 3, 32, 32)`` of the frames ``index`` ``(B,)``, view-major."""
        count, device = num_views * len(index), index.device
        new = self.layers.draw(count, generator)._asdict()
        own = {name: getattr(self, name)[index.repeat(num_views)] for name in self.share}
        frames = Frames(**{**new, **own})

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device)

        shift = (uniform(count, 2) * (2 * _SHIFT + 1)).long() - _SHIFT
        jitter = (uniform(count, 2) * (2 * _JITTER + 1)).long() - _JITTER
        frames = frames._replace(position=(frames.position + jitter).clamp(0, ROOM))
        views = self.layers.paint(frames, shift, uniform(count) < 0.5)
        bright = 1 + _BRIGHTNESS * (2 * uniform(count, 1, 1, 1) - 1)
        views = ((views * bright).clamp(0, 1) - self.mean) / self.std
        return views.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class FactorData(ImageData):
    """Frames with their factors.

    Attributes:
        layers: what the frames of each split are made of; no two splits share a digit or a background.
        frames: the factors of the frames of each split.
        kinds: classes of the digits and of the backgrounds in ``layers``.
    """

    layers: dict[str, Layers] = field(default_factory=dict)
    frames: dict[str, Frames] = field(default_factory=dict)
    kinds: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def pooled(self) -> FactorData:
        """The same without the validation frames, whose digits and backgrounds are their own."""
        return replace(self, validation=self.validation.take(torch.arange(0)))

    def targets(self, split: str) -> dict[str, Tensor]:
        """What is to be read from each frame: classes ``(n,)`` of digit and background, position ``(n, 2)`` in px."""
        frames, (digits, backgrounds) = self.frames[split], self.kinds[split]
        return {
            "digit": digits[frames.digit],
            "background": backgrounds[frames.background],
            "position": frames.position.float(),
        }


class Factors(ImageDataset):
    """Digits of 16 px at random places over photographs of 32 px, after Colorful Moving-MNIST of InfoMin.

    Tian et al., "What Makes for Good Views for Contrastive Learning?", NeurIPS 2020, section 4.1: a frame has three
    independent factors, and the views of a frame share those in ``data.share``. ``data.root`` holds the backgrounds
    in class folders; digits and backgrounds of the test frames are in no training frame.
    """

    Config = FactorsConfig
    summary = "digits moving over your photographs; views share the factors in data.share"

    @classmethod
    def load(cls, config: Any, progress: bool = True) -> FactorData:
        if config.root is None:
            raise ConfigError("data.name=factors draws digits over photographs: set data.root=FOLDER of class folders")
        if config.classes is not None:
            raise ConfigError(
                f"data.classes=[{', '.join(config.classes)}]: data.name=factors draws digits of all classes, drop it"
            )
        shared = {"validation": config.validation, "split_seed": config.split_seed}
        digits = load_images(DigitsConfig(**shared))
        scenes = load_images(FolderConfig(root=config.root, image_size=SIDE, **shared), progress)
        if not (scenes.classes and len(scenes.test)):
            raise ConfigError(f"data.root={config.root} holds no class folders: the background's class is to be read")
        data = FactorData("factors", digits.classes, *(_no_frames(),) * 3, side=SIDE)
        splits: dict[str, Any] = {}
        for number, (name, count) in enumerate({"train": 4, "test": 1, "validation": 1}.items()):
            digit, scene = getattr(digits, name), getattr(scenes, name)
            if len(digit) and len(scene):
                pixels = scene.squares(torch.arange(len(scene)), SIDE).expand(-1, 3, -1, -1)
                layers = Layers(digit.images, pixels)
                generator = torch.Generator().manual_seed(3 * config.split_seed + number)
                frames = layers.draw(config.frames * count // 4, generator)
                splits[name] = Split(layers.images(frames), digit.labels[frames.digit])
                data.layers[name], data.frames[name] = layers, frames
                data.kinds[name] = digit.labels, scene.labels
        note = f"{config.frames:,} frames of {len(digits.train):,} digits over {len(scenes.train):,} photographs"
        return replace(data, **splits, notes=(f"{note}; views share {' and '.join(config.share)}",))


def _no_frames() -> Split:
    return Split(torch.empty(0, 3, SIDE, SIDE, dtype=torch.uint8), torch.empty(0, dtype=torch.long))


def _reflected(at: Tensor) -> Tensor:
    """Positions beyond the border, reflected at it."""
    return SIDE - 1 - (SIDE - 1 - at.abs()).abs()
