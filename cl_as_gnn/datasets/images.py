"""Labelled images in memory as uint8, with train, validation and test splits that no training seed can move."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from cl_as_gnn.config import DataConfig
from cl_as_gnn.errors import ConfigError, RunError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_SHARE = 0.25
CHUNK = 128


@dataclass(frozen=True)
class Split:
    """Images ``(N, C, H, W)`` in uint8 and their labels ``(N,)`` in int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        """The images and labels at the given positions, in that order."""
        return Split(self.images[index], self.labels[index])


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
        """1 for grey images, 3 for RGB."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.train.images.shape[-1]

    def pooled(self) -> ImageData:
        """The same data with the validation images put back among the training images."""
        both = Split(
            torch.cat([self.train.images, self.validation.images]),
            torch.cat([self.train.labels, self.validation.labels]),
        )
        return replace(self, train=both, validation=Split(both.images[:0], both.labels[:0]))


def load_images(config: DataConfig, progress: bool = True) -> ImageData:
    """Read the data set that ``config`` names.

    - ``digits``: scikit-learn's 8 × 8 digits, a stratified quarter (450 images) as the test set.
    - ``folder``: ``root/train/<class>/*`` and ``root/test/<class>/*``, or ``root/<class>/*``, of which a stratified
      quarter becomes the test set. Always RGB; hidden files and files that are no images are passed over.
    - ``cifar10``, ``cifar100``: their 50,000 and 10,000 images.
    - ``stl10``: the 5,000 labelled training and 8,000 test images; the 100,000 unlabelled ones are not read.

    A stratified ``config.validation`` share of the training images becomes the validation set. The splits depend on
    the images and on ``config.split_seed`` alone, never on a training seed.

    Args:
        config: which data set, where it lies, and how much of it is kept for validation.
        progress: show a progress bar on stderr while a folder is decoded.

    Raises:
        ConfigError: a path, the layout of a folder, the size of its images or a split is wrong.
        RunError: image files cannot be decoded.
    """
    if config.name == "digits":
        classes, train, test = _digits(config.split_seed)
    elif config.name == "folder":
        classes, train, test = _folder(config, progress)
    else:
        classes, train, test = _torchvision(config.name, config.root or Path("data"))
    if config.validation > 0:
        purpose = f"data.validation={config.validation:g}"
        train, validation = _split(train, config.validation, classes, purpose, config.split_seed)
    else:
        validation = Split(train.images[:0], train.labels[:0])
    return ImageData(config.name, classes, train, validation, test)


def read_images(folder: Path | str, channels: int, image_size: int, progress: bool = True) -> tuple[list[Path], Tensor]:
    """The image files under a folder, at any depth and in alphabetical order, and their pixels.

    Args:
        folder: where they lie; links are followed, each folder is read once; hidden files and folders, and
            files that are no images, are passed over.
        channels: 1 for grey, 3 for RGB.
        image_size: side S; of other images the centre square is resized to it.
        progress: show a progress bar on stderr.

    Returns:
        The paths, and uint8 ``(N, channels, S, S)``.

    Raises:
        ConfigError: there is no such folder, or no image in it.
        RunError: files cannot be decoded.
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
    return paths, _decode(paths, image_size, progress, "L" if channels == 1 else "RGB")


_Parts = tuple[tuple[str, ...], Split, Split]
_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def _split(split: Split, share: float, classes: tuple[str, ...], purpose: str, seed: int) -> tuple[Split, Split]:
    """Part off a stratified ``share``, for a seed always the same one: ``(rest, share)``."""
    counts = torch.bincount(split.labels, minlength=len(classes))
    least = int(counts.argmin())
    # scikit-learn stratifies only if a class has two images and either part has room for every class.
    wanted = int(np.ceil(share * len(split)))
    if counts[least] < 2 or not len(classes) <= wanted <= len(split) - len(classes):
        raise ConfigError(
            f"{purpose} cannot be split off {len(split)} images of {len(classes)} classes (the smallest, "
            f"{classes[least]!r}, has {int(counts[least])}): add images"
            + (
                ", or set data.validation=0"
                if purpose.startswith("data.validation")
                else ", or lay out train/ and test/"
            )
        )
    kept, parted = train_test_split(np.arange(len(split)), test_size=share, random_state=seed, stratify=split.labels)
    return split.take(torch.from_numpy(kept)), split.take(torch.from_numpy(parted))


def _digits(seed: int) -> _Parts:
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(np.rint(pixels * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
    classes = tuple(str(digit) for digit in range(10))
    train, test = _split(Split(images, torch.from_numpy(labels).long()), TEST_SHARE, classes, "a test set", seed)
    return classes, train, test


def _torchvision(name: str, root: Path) -> _Parts:
    opened: dict[str, tuple[Callable[[bool, bool], Any], str]] = {
        "cifar10": (lambda train, fetch: CIFAR10(root, train, download=fetch), "cifar-10-batches-py"),
        "cifar100": (lambda train, fetch: CIFAR100(root, train, download=fetch), "cifar-100-python"),
        "stl10": (lambda train, fetch: STL10(root, "train" if train else "test", download=fetch), "stl10_binary"),
    }
    build, folder = opened[name]

    def read(train: bool) -> Any:
        try:
            return build(train, False)
        except RuntimeError:  # torchvision's "not found or corrupted"
            return build(train, True)

    try:
        parts = [read(True), read(False)]
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{name} is not under data.root={root} and could not be downloaded ({reason}): "
            f"put the folder {folder} there, as {root / folder}"
        ) from error
    train, test = (
        Split(
            torch.from_numpy(part.data if name == "stl10" else part.data.transpose(0, 3, 1, 2)).contiguous(),
            torch.as_tensor(part.labels if name == "stl10" else part.targets).long(),
        )
        for part in parts
    )
    return tuple(parts[0].classes), train, test


def _folder(config: DataConfig, progress: bool) -> _Parts:
    root = config.root
    if root is None:
        raise ConfigError("data.name=folder needs the folder of the images: set data.root=PATH")
    if not root.is_dir():
        raise ConfigError(f"data.root={root} is no folder: give the one that holds train/ and test/, or <class>/*")
    has_train, has_test = (root / "train").is_dir(), (root / "test").is_dir()
    if has_train != has_test:
        there, lacking = ("train", "test") if has_train else ("test", "train")
        raise ConfigError(
            f"data.root={root} has {there}/ but no {lacking}/: add it, or put the class folders straight under "
            "data.root for a random quarter as the test set"
        )
    train_files = _class_files(root / "train" if has_train else root)
    classes = tuple(train_files)
    if len(classes) < 2:
        raise ConfigError(
            f"data.root={root} holds one class ({classes[0]!r}), evaluation expects two or more: add class folders"
        )
    test_files = _class_files(root / "test") if has_test else {}
    unknown = sorted(set(test_files) - set(train_files))
    if unknown:
        raise ConfigError(
            f"data.root={root}: test/ has the class {unknown[0]!r}, which train/ lacks: "
            f"add train/{unknown[0]}/ or remove test/{unknown[0]}/"
        )

    listed = [
        (path, classes.index(name)) for files in (train_files, test_files) for name in files for path in files[name]
    ]
    images = _decode([path for path, _ in listed], config.image_size, progress)
    labels = torch.tensor([label for _, label in listed])
    if has_test:
        count = sum(len(files) for files in train_files.values())
        return classes, Split(images[:count], labels[:count]), Split(images[count:], labels[count:])
    train, test = _split(Split(images, labels), TEST_SHARE, classes, "a test set of one quarter", config.split_seed)
    return classes, train, test


def _class_files(root: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, in alphabetical order of both."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {
        folder.name: sorted(
            path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        for folder in folders
    }
    if not files:
        raise ConfigError(f"{root} holds no class folders: put the images at {root / '<class>' / '*.png'}")
    for name, found in files.items():
        if not found:
            raise ConfigError(f"{root / name} holds no images (such as .png or .jpg): add some or remove the folder")
    return files


def _read(path: Path, side: int | None, mode: str) -> _Pixels:
    """One image ``(H, W, C)`` in Pillow's mode; with ``side``, its centre square resized to that side."""
    with Image.open(BytesIO(path.read_bytes())) as opened:
        if opened.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
            image = Image.fromarray((np.asarray(opened) / 257).clip(0, 255).round().astype(np.uint8)).convert(mode)
        else:
            image = opened.convert(mode)
    if side is not None and image.size != (side, side):
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        # Cropped first, as the filter would read beyond resize's own box.
        image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, -1)


def _decode(paths: list[Path], side: int | None, progress: bool, mode: str = "RGB") -> Tensor:
    """Decode the files to uint8 ``(N, C, H, W)``, in their order."""

    def attempt(path: Path) -> _Pixels | None:
        try:
            return _read(path, side, mode)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises on bad bytes
            return None

    # One file is too little work for a task: the threads would spend their time on handing over.
    chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        arrays = [
            array
            for chunk in track(
                pool.map(lambda chunk: [attempt(path) for path in chunk], chunks),
                "Decoding images",
                total=len(chunks),
                console=Console(stderr=True),
                transient=True,
                disable=not progress,
            )
            for array in chunk
        ]
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
