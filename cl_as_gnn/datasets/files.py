"""Image files: finding them, and decoding each to a square that keeps the full extent of the picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cl_as_gnn.errors import ConfigError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
UNREADABLE = (OSError, SyntaxError, ValueError, OverflowError, Image.DecompressionBombError)
"""What Pillow raises for bytes that are no complete image."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # of the camera, in the Exif data; from 5 on, height and width are exchanged


def image_files(folder: Path | str) -> list[str]:
    """The image files under a folder, at any depth and in alphabetical order, as paths within the folder.

    Links are followed, each folder is read once; hidden files and folders, and files that are not images, are skipped.
    ConfigError if there is no such folder, if it cannot be read, or if no image is in it.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        what = "is a file" if os.path.exists(folder) else "does not exist"
        raise ConfigError(f"the folder {folder} {what}: name one that holds images")
    found: list[str] = []
    entered: set[str] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        path = os.path.join(folder, place)
        real = os.path.realpath(path)
        if real in entered:  # links may lead around in a circle
            continue
        entered.add(real)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise ConfigError(f"the folder {path} cannot be read ({error.strerror}): check its permissions") from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                waiting.append(os.path.join(place, entry.name))
            elif entry.name.lower().endswith(SUFFIXES) and (entry.is_file() or entry.is_symlink()):
                found.append(os.path.join(place, entry.name))
    if not found:
        raise ConfigError(f"{folder} holds no images (such as .png or .jpg)")
    return sorted(name.replace(os.sep, "/") for name in found)


def image_size(path: str) -> tuple[int, int] | None:
    """Width and height by the header of a file, upright; ``None`` if it is no readable image."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)
    except UNREADABLE:
        return None


def to_square(opened: Image.Image, side: int, mode: str) -> tuple[Pixels, float]:
    """Resize the whole picture to ``side`` × ``side`` px, upright.

    A JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that is not below ``side``.

    Returns:
        ``(side, side, C)`` in Pillow's mode (``L`` or ``RGB``), and width / height of the picture.
    """
    width, height = opened.size
    turn = opened.getexif().get(_ORIENTATION, 1)
    opened.draft(mode, (side, side))
    if opened.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
        image = Image.fromarray((np.asarray(opened) / 257).clip(0, 255).round().astype(np.uint8)).convert(mode)
    else:
        image = opened.convert(mode)
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    aspect = height / width if turn in (5, 6, 7, 8) else width / height
    return np.asarray(image).reshape(side, side, -1), aspect


def decode(path: str, side: int, mode: str) -> tuple[Pixels, float] | str:
    """Decode a file by :func:`to_square`, or say in a few words why it cannot be decoded."""
    try:
        if not os.path.isfile(path):  # a pipe would wait for a writer
            return "no such file"
        with open(path, "rb") as file:
            data = file.read()
        if not data:
            return "empty file"
        with Image.open(BytesIO(data)) as opened:
            return to_square(opened, side, mode)
    except UNREADABLE as error:
        return (str(error).splitlines() or [type(error).__name__])[0].split(" <_io")[0]


def common_sides(paths: Sequence[str], sample: int = 64) -> tuple[int | None, int]:
    """Estimate the size of the images by the headers of some of them.

    Returns:
        The side that all of them share if they are squares of one size, else ``None``; and their longest side, 0 if no
        header can be read.
    """
    step = max(1, len(paths) // sample)
    sizes = [size for size in map(image_size, paths[::step]) if size is not None]
    if not sizes:
        return None, 0
    width, height = sizes[0]
    same = width if width == height and len(set(sizes)) == 1 else None
    return same, max(map(max, sizes))
