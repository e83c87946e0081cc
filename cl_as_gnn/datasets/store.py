"""Images that are read by the batch: from their files, or from memory-mapped arrays."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cl_as_gnn.datasets.files import UNREADABLE, Pixels, open_file, to_square, upright_size
from cl_as_gnn.errors import RunError

_TASK = 4  # images that a thread decodes at a time


class Store(ABC):
    """Base class of stores: N images of the same channels and side, read by their rows.

    Attributes:
        shape: (N, C, P, P).
        chunk_ends: the row after each chunk, ascending, where neighboring rows are best read together; else ``None``.
    """

    shape: tuple[int, int, int, int]
    chunk_ends: Tensor | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Read images, uint8 ``(n, C, P, P)``, and their width / height ``(n,)``, on the CPU."""


class DecodedStore(Store):
    """Base class of images that are decoded whenever they are read, by as many threads as the process may use cores.

    An image that cannot be decoded is replaced by the next that can, so that every row yields an image and the same row
    always the same one. :attr:`broken` tells which these are.

    Args:
        names: of the images, for messages.
        channels: 1 for gray, 3 for RGB.
        max_broken: share of the images that may be broken.

    Attributes:
        broken: the rows that were found broken so far, with the reason.
        token: a text that changes with the images, besides :meth:`stamps`.

    Raises:
        RunError: (when reading) more images than that are broken.
    """

    def __init__(self, names: Sequence[str], channels: int = 3, max_broken: float = 0.01) -> None:
        self.names, self.max_broken = names, max_broken
        self.shape = (len(names), channels, 0, 0)
        self.broken: dict[int, str] = {}
        self.center = False
        self.token = ""

    @abstractmethod
    def open(self, row: int) -> Image.Image:
        """Open an image, of which Pillow has read the header at least; the error is one of ``UNREADABLE``."""

    def keep(self, side: int, center: bool = False) -> None:
        """Resize whole pictures, or their center squares, to ``side`` × ``side`` px from now on."""
        self.center = center
        self.shape = (*self.shape[:2], side, side)

    def sides(self, sample: int = 64) -> tuple[int | None, int]:
        """Estimate the size of the images by some of them.

        Returns:
            The side that all of them share if they are squares of one size, else ``None``; and their longest side, 0 if
            none can be read.
        """
        sizes = []
        for row in range(0, len(self), max(1, len(self) // sample)):
            with suppress(*UNREADABLE), self.open(row) as opened:
                sizes.append(upright_size(opened))
        if not sizes:
            return None, 0
        width, height = sizes[0]
        same = width if width == height and len(set(sizes)) == 1 else None
        return same, max(map(max, sizes))

    def stamps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Two numbers per image ``(N, 2)`` that change with it, as far as that is known without reading it."""
        return np.zeros((len(self), 2), np.int64)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_cores(), thread_name_prefix="decode")

    def decode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode some images.

        Returns:
            uint8 ``(n, C, P, P)``, their width / height ``(n,)``, and a mask ``(n,)`` of those that are not broken.
        """
        wanted = rows.tolist()
        parts = self._pool.map(self._part, [wanted[first : first + _TASK] for first in range(0, len(wanted), _TASK)])
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        aspect = torch.zeros(len(rows))
        for i, image in enumerate(image for part in parts for image in part):
            if isinstance(image, str):
                self.broken[wanted[i]] = image
            else:
                images[i], aspect[i] = image[0].transpose(2, 0, 1), image[1]
        self.check_broken()
        return torch.from_numpy(images), aspect, aspect > 0

    def check_broken(self) -> None:
        """Raise RunError if more images are known to be broken than may be."""
        if not self.broken:
            return
        row, reason = next(iter(self.broken.items()))
        if len(self.broken) >= len(self):
            raise RunError(f"none of the {len(self):,} images can be decoded ({reason}): name other files")
        if len(self.broken) > self.max_broken * len(self):
            raise RunError(
                f"{self.names[row]} cannot be decoded as an image ({reason}), and {len(self.broken)} of {len(self):,} "
                f"cannot so far: repair or remove them, or raise data.max_broken (now {self.max_broken:g})"
            )

    def _part(self, rows: Sequence[int]) -> list[tuple[Pixels, float] | str]:
        mode = "L" if self.shape[1] == 1 else "RGB"
        out: list[tuple[Pixels, float] | str] = []
        for row in rows:
            try:
                with self.open(row) as opened:
                    out.append(to_square(opened, self.shape[2], mode, self.center))
            except UNREADABLE as error:
                reason = (str(error).splitlines() or [""])[0].split(" <_io")[0]
                out.append(reason or type(error).__name__)
        return out

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows.clone()
        images, aspect, good = self.decode(rows)
        while not good.all():
            at = (~good).nonzero().view(-1)
            rows[at] = (rows[at] + 1) % len(self)
            images[at], aspect[at], good[at] = self.decode(rows[at])
        return images, aspect


class FileStore(DecodedStore):
    """Image files.

    Args:
        root: the folder of the files.
        names: their paths in it.
        channels, max_broken: as in :class:`DecodedStore`.
    """

    def __init__(
        self, root: str | os.PathLike[str], names: Sequence[str], channels: int = 3, max_broken: float = 0.01
    ) -> None:
        super().__init__(names, channels, max_broken)
        self.root = os.fspath(root)

    def open(self, row: int) -> Image.Image:
        return open_file(os.path.join(self.root, self.names[row]))

    def stamps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Size and time of change of each file, as they were when first asked for."""
        return self._stamps

    @cached_property
    def _stamps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        out = np.zeros((len(self), 2), np.int64)
        for row, name in enumerate(self.names):
            with suppress(OSError):
                known = os.stat(os.path.join(self.root, name))
                out[row] = known.st_size, known.st_mtime_ns
        return out


class ItemStore(DecodedStore):
    """Items of a map-style data set of pictures.

    Args:
        items: ``items(row)`` returns the picture.
        count: N.
        max_broken, token: as in :class:`DecodedStore`.
    """

    def __init__(
        self, items: Callable[[int], Image.Image], count: int, max_broken: float = 0.01, token: str = ""
    ) -> None:
        super().__init__([f"image {row}" for row in range(count)], max_broken=max_broken)
        self.items, self.token = items, token

    def open(self, row: int) -> Image.Image:
        picture = self.items(row)
        if not isinstance(picture, Image.Image):
            raise ValueError(f"{type(picture).__name__} in place of an image")
        return picture.copy()  # closed after use, and the data set may hold on to its own


class MappedStore(Store):
    """Square images in a file that is mapped into memory: the system keeps the pages in use, and drops others.

    Args:
        path: a file of N·C·P·P bytes, in which each channel is stored column by column, as in STL-10.
        shape: (N, C, P, P).
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        self._pixels = np.memmap(path, np.uint8, "r", shape=shape)

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Ascending reads are faster, and each page is read once.
        order = torch.argsort(rows)
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        images[order] = torch.from_numpy(self._pixels[rows[order].numpy()])
        return images.mT, torch.ones(len(rows))


class JoinedStore(Store):
    """The images of several stores, one after another."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = stores
        self.ends = torch.tensor([len(store) for store in stores]).cumsum(0)
        self.shape = (int(self.ends[-1]), *stores[0].shape[1:])

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        aspect = torch.empty(len(rows))
        owner = torch.bucketize(rows, self.ends, right=True)
        for i, store in enumerate(self.stores):
            place = (owner == i).nonzero().view(-1)
            if len(place):
                images[place], aspect[place] = store.fetch(rows[place] - int(self.ends[i]) + len(store))
        return images, aspect


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
