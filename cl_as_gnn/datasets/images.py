"""Labeled images in memory as uint8, with training, validation and test splits independent of the training seed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from sklearn.model_selection import train_test_split
from torch import Tensor

from cl_as_gnn.errors import ConfigError, RunError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_SHARE = 0.25
CHUNK = 128


@dataclass(frozen=True)
class Split:
    """Images ``(N, C, H, W)`` in uint8, their labels ``(N,)`` in int64, −1 where unknown, and the paths of their files
    within the folder of the data set."""

    images: Tensor
    labels: Tensor
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        """The images and labels at the given positions, in that order."""
        return Split(self.images[index], self.labels[index], tuple(self.files[i] for i in index) if self.files else ())

    def joined(self, other: Split) -> Split:
        """These images and then the others."""
        images, labels = torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        return Split(images, labels, self.files + other.files)


@dataclass(frozen=True)
class ImageData:
    """A data set; labels index ``classes``."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.train.images.shape[-1]

    def pooled(self) -> ImageData:
        """The same data with the validation images put back among the training images."""
        none = self.validation.take(torch.arange(0))
        return replace(self, train=self.train.joined(self.validation), validation=none)


def image_files(folder: Path | str) -> list[Path]:
    """The image files under a folder, at any depth and in alphabetical order.

    Links are followed, each folder is read once; hidden files and folders, and files that are not images, are skipped.
    ConfigError if there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ConfigError(f"the folder {folder} {what}: name one that holds images")
    paths, entered = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # links may lead around in a circle
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(place, name) for name in names if not name.startswith(".")]
    paths = sorted(path for path in paths if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"{folder} holds no images (such as .png or .jpg)")
    return paths


def read_images(folder: Path | str, channels: int, image_size: int, progress: bool = True) -> tuple[list[Path], Tensor]:
    """The files that :func:`image_files` finds, and their pixels.

    Args:
        folder: of the images.
        channels: 1 for gray, 3 for RGB.
        image_size: side S; the center square of other images is resized to it.
        progress: show a progress bar on stderr.

    Returns:
        The paths, and uint8 ``(N, channels, S, S)``.

    Raises:
        ConfigError: there is no such folder, or no image in it.
        RunError: files cannot be decoded.
    """
    paths = image_files(folder)
    return paths, decode(paths, image_size, progress, "L" if channels == 1 else "RGB")


class Parts(NamedTuple):
    """What a data set holds: the names of its classes, and its splits."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None
    """A share of the training images if not given."""
    unlabeled: Split | None = None
    """More training images, without labels."""


_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def split_off(split: Split, share: float, classes: tuple[str, ...], purpose: str, seed: int) -> tuple[Split, Split]:
    """Split off a stratified ``share``, the same for the same seed: ``(rest, share)``."""
    counts = torch.bincount(split.labels, minlength=len(classes))
    least = int(counts.argmin())
    # scikit-learn stratifies only if each class has two images and both parts have room for every class.
    if counts[least] < 2 or not len(classes) <= int(np.ceil(share * len(split))) <= len(split) - len(classes):
        cure = "set data.validation=0" if purpose.startswith("data.validation") else "lay out train/ and test/"
        raise ConfigError(
            f"{purpose} cannot be split off {len(split)} images of {len(classes)} classes (the smallest, "
            f"{classes[least]!r}, has {int(counts[least])}): add images, or {cure}"
        )
    kept, parted = train_test_split(np.arange(len(split)), test_size=share, random_state=seed, stratify=split.labels)
    return split.take(torch.from_numpy(kept)), split.take(torch.from_numpy(parted))


def _read(path: Path, side: int | None, mode: str) -> _Pixels:
    """One image ``(H, W, C)`` in Pillow's mode, upright; with ``side``, its center square resized to that side."""
    with Image.open(BytesIO(path.read_bytes())) as opened:
        if opened.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
            image = Image.fromarray((np.asarray(opened) / 257).clip(0, 255).round().astype(np.uint8)).convert(mode)
        else:
            image = opened.convert(mode)
        ImageOps.exif_transpose(image, in_place=True)
    if side is not None and image.size != (side, side):
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        # Cropped first, as the filter would read beyond resize's own box.
        image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, -1)


def decode(paths: list[Path], side: int | None, progress: bool, mode: str = "RGB") -> Tensor:
    """Decode the files to uint8 ``(N, C, H, W)``, in their order."""

    def attempt(path: Path) -> _Pixels | None:
        try:
            return _read(path, side, mode)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises on bad bytes
            return None

    # Chunks, because one file is too little work for a task of a thread.
    chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda chunk: [attempt(path) for path in chunk], chunks)
        stderr = Console(stderr=True)
        bar = track(done, "Decoding images", len(chunks), console=stderr, transient=True, disable=not progress)
        arrays = [array for chunk in bar for array in chunk]
    broken = [path for path, array in zip(paths, arrays, strict=True) if array is None]
    if broken:
        raise RunError(
            f"{broken[0]} cannot be decoded as an image ({len(broken)} of {len(paths)} files cannot): "
            "repair or remove them"
        )
    decoded = [array for array in arrays if array is not None]
    height, width, _ = decoded[0].shape
    for path, array in zip(paths, decoded, strict=True):
        if array.shape[:2] != (width, width):
            raise ConfigError(
                f"images must be square and of one size, but {paths[0]} has {width}x{height} pixels and "
                f"{path} has {array.shape[1]}x{array.shape[0]}: set data.image_size=32 to resize them all"
            )
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous()
