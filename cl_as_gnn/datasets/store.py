"""Images that are read by the batch: from their files, or from memory-mapped arrays."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cl_as_gnn.datasets.files import Pixels, decode
from cl_as_gnn.errors import RunError

_TASK = 4  # files that a thread decodes at a time


class Store(ABC):
    """Base class of stores: N images of the same channels and side, read by their rows.

    Attributes:
        shape: (N, C, P, P).
    """

    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Read images, uint8 ``(n, C, P, P)``, and their width / height ``(n,)``, on the CPU."""


class FileStore(Store):
    """Files that are decoded whenever they are read, by as many threads as the process may use cores.

    An image that cannot be decoded is replaced by the next that can, so that every row yields an image and the same row
    always the same one. :attr:`broken` tells which these are.

    Args:
        root: the folder of the files.
        names: their paths in it.
        side: P; the whole picture is resized to P × P px.
        channels: 1 for gray, 3 for RGB.
        max_broken: share of the files that may be broken.

    Raises:
        RunError: (when reading) more files than that are broken.
    """

    def __init__(
        self, root: str | os.PathLike[str], names: Sequence[str], side: int, channels: int = 3, max_broken: float = 0.01
    ) -> None:
        self.root, self.names, self.max_broken = os.fspath(root), names, max_broken
        self.shape = (len(names), channels, side, side)
        self.broken: dict[int, str] = {}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_cores(), thread_name_prefix="decode")

    def decode(self, rows: Sequence[int]) -> list[tuple[Pixels, float] | str]:
        """Decode some files; a text in place of an image says why it cannot be decoded."""
        mode, side = "L" if self.shape[1] == 1 else "RGB", self.shape[2]

        def work(part: Sequence[int]) -> list[tuple[Pixels, float] | str]:
            return [decode(os.path.join(self.root, self.names[row]), side, mode) for row in part]

        parts = self._pool.map(work, [rows[first : first + _TASK] for first in range(0, len(rows), _TASK)])
        out = [image for part in parts for image in part]
        self.broken |= {row: image for row, image in zip(rows, out, strict=True) if isinstance(image, str)}
        if len(self.broken) > self.max_broken * len(self):
            row, reason = next(iter(self.broken.items()))
            raise RunError(
                f"{os.path.join(self.root, self.names[row])} cannot be decoded as an image ({reason}), and "
                f"{len(self.broken)} of {len(self):,} files cannot so far: repair or remove them, or raise "
                f"data.max_broken (now {self.max_broken:g})"
            )
        return out

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        wanted = rows.tolist()
        images = self.decode(wanted)
        while missing := [i for i, image in enumerate(images) if isinstance(image, str)]:
            for i in missing:
                wanted[i] = (wanted[i] + 1) % len(self)
            for i, image in zip(missing, self.decode([wanted[i] for i in missing]), strict=True):
                images[i] = image
        return stacked([image for image in images if not isinstance(image, str)], self.shape)


class MappedStore(Store):
    """Decoded images in a file that is mapped into memory: the system keeps the pages in use, and drops others.

    Args:
        path: a file of N·C·P·P bytes.
        shape: (N, C, P, P).
        aspect: width / height of the pictures; ``None`` if all are squares.
        transposed: whether the file holds the columns of each channel one after another.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int, int, int],
        aspect: Tensor | None = None,
        transposed: bool = False,
    ) -> None:
        self.shape, self.transposed = shape, transposed
        self.aspect = torch.ones(shape[0]) if aspect is None else aspect
        self._pixels = np.memmap(path, np.uint8, "r", shape=shape)

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Ascending reads are faster, and each page is read once.
        order = torch.argsort(rows)
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        images[order] = torch.from_numpy(self._pixels[rows[order].numpy()])
        return images.mT if self.transposed else images, self.aspect[rows]


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


def stacked(images: Sequence[tuple[Pixels, float]], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Images ``(P, P, C)`` with their width / height as tensors ``(n, C, P, P)`` and ``(n,)``."""
    out = np.empty((len(images), *shape[1:]), np.uint8)
    for i, (pixels, _) in enumerate(images):
        out[i] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(out), torch.tensor([aspect for _, aspect in images])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
