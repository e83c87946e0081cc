"""Image files: finding them, and decoding each to a square that keeps the full extent of the picture."""

from __future__ import annotations

import os
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


def upright_size(opened: Image.Image) -> tuple[int, int]:
    """Width and height of a picture, upright."""
    width, height = opened.size
    return (height, width) if opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)


def open_file(path: str) -> Image.Image:
    """Open an image file; the error is one of ``UNREADABLE``."""
    if not os.path.isfile(path):  # a pipe would wait for a writer
        raise OSError("no such file")
    with open(path, "rb") as file:
        return open_bytes(file.read())


def open_bytes(data: bytes) -> Image.Image:
    """Open the content of an image file; the error is one of ``UNREADABLE``."""
    if not data:
        raise OSError("empty file")
    return Image.open(BytesIO(data))


def to_square(opened: Image.Image, side: int, mode: str, center: bool = False) -> tuple[Pixels, float]:
    """Resize the whole picture, or its center square, to ``side`` × ``side`` px, upright.

    A JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that is not below ``side``.

    Returns:
        ``(side, side, C)`` in Pillow's mode (``L`` or ``RGB``), and width / height of what it shows.
    """
    width, height = upright_size(opened)
    turn = opened.getexif().get(_ORIENTATION, 1)
    opened.draft(mode, (side, side))
    if opened.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
        image = Image.fromarray((np.asarray(opened) / 257).clip(0, 255).round().astype(np.uint8)).convert(mode)
    else:
        image = opened if opened.mode == mode else opened.convert(mode)
    if center and width != height:
        width = height = min(image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        # Cropped first, as the filter would read beyond resize's own box.
        image = image.crop((left, top, left + width, top + height))
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    return np.asarray(image).reshape(side, side, -1), width / height
