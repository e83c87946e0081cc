"""Decoded images in one file, with all that a run has to know of them beside it: a cache, or a data set of its own."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from cl_as_gnn.datasets.images import Catalog
from cl_as_gnn.datasets.store import DecodedStore
from cl_as_gnn.errors import ConfigError, RunError

INDEX, PIXELS, ASPECT, BROKEN = "index.safetensors", "pixels.u8", "aspect.f32", "broken.txt"
_KEY = "cl_as_gnn_packed"
_READ = 32  # images that a thread reads at a time
_sync = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True)
class Header:
    """What ``index.safetensors`` says of all images together.

    Attributes:
        shape: (N, C, P, P).
        side: S, the side of the views for which they were packed.
        same, longest: the sizes of the pictures, as :meth:`DecodedStore.sides` estimates them.
        token: of the :class:`DecodedStore`.
        sizes, classes, source: of the :class:`Catalog`.
        root: the folder of the pictures.
    """

    shape: tuple[int, int, int, int]
    side: int
    same: int | None
    longest: int
    token: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    source: str
    root: str


@dataclass
class Index:
    """``index.safetensors``: the header, and name, label and stamp of every image."""

    header: Header
    names: Sequence[str]
    labels: Tensor
    stamps: np.ndarray[Any, Any]

    def write(self, folder: Path) -> None:
        draft = folder / f"{INDEX}.{os.getpid()}.part"  # several ranks may write the same file
        names = np.frombuffer("\0".join(self.names).encode(errors="surrogateescape"), np.uint8)
        arrays = {"names": names, "labels": self.labels.numpy(), "stamps": self.stamps}
        try:
            draft.write_bytes(save(arrays, {_KEY: json.dumps(asdict(self.header))}))
            os.replace(draft, folder / INDEX)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Read the index of a packed folder; ConfigError if it is none, or is not whole."""
        try:
            with safe_open(str(folder / INDEX), framework="numpy") as file:
                known = json.loads(file.metadata()[_KEY])
                arrays = {name: file.get_tensor(name) for name in ("names", "labels", "stamps")}
            known |= {"shape": tuple(known["shape"]), "classes": tuple(known["classes"])}
            header, count = Header(**known), int(known["shape"][0])
            names = arrays["names"].tobytes().decode(errors="surrogateescape").split("\0")
            labels = torch.from_numpy(arrays["labels"])
            held = {len(names), len(labels), len(arrays["stamps"]), sum(header.sizes.values())}
            if held != {count} or int(labels.max()) >= len(header.classes) or "train" not in header.sizes:
                raise ValueError("its parts do not fit")
            if (folder / PIXELS).stat().st_size != np.prod(header.shape, dtype=np.int64):
                raise ValueError(f"{PIXELS} is not whole")
            if (folder / ASPECT).stat().st_size != 4 * count:
                raise ValueError(f"{ASPECT} is not whole")
        except Exception as error:  # safetensors has its own type for a broken file
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise ConfigError(f"{folder} is no packed folder ({reason}): remove it and pack again") from None
        return cls(header, names, labels, arrays["stamps"])


class PackedStore(DecodedStore):
    """The images of a packed folder; those that are not in it yet are decoded by ``source`` and kept.

    ``pixels.u8`` holds N·C·P·P bytes, and ``aspect.f32`` width / height of every image: 0 where it is not packed yet,
    −1 where it is broken. Several processes may read and fill a folder at the same time: they write the same bytes.
    The files are read by calls and not mapped, so that memory stays bounded and a full disk is an error.

    Args:
        folder: of the files.
        index: what they hold.
        max_broken: as in :class:`DecodedStore`.
        source: the same images, to decode; ``None``: those that are not packed cannot be read.
    """

    def __init__(self, folder: Path, index: Index, max_broken: float, source: DecodedStore | None = None) -> None:
        header = index.header
        super().__init__(index.names, header.shape[1], max_broken)
        self.shape, self.folder, self.header, self.source = header.shape, folder, header, source
        mode = "rb" if source is None else "r+b"
        try:
            self._pixels, self._marks = (open(folder / name, mode, 0) for name in (PIXELS, ASPECT))  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"cannot open {error.filename}: {error.strerror}") from None
        self._aspect = np.memmap(folder / ASPECT, np.float32, "r", shape=self.shape[:1])
        self._bytes = int(np.prod(self.shape[1:]))
        self._learn_broken()
        if source is not None:
            source.broken, self.chunk_ends = self.broken, source.chunk_ends

    @property
    def lock(self) -> int:
        """The descriptor of an open file, to lock the folder by."""
        return self._marks.fileno()

    def close(self) -> None:
        """Close the files, also on behalf of those who wait for the folder."""
        self._pixels.close()
        self._marks.close()

    def open(self, row: int) -> Any:
        raise NotImplementedError("packed images are decoded already")

    def sides(self, sample: int = 64) -> tuple[int | None, int]:
        return self.header.same, self.header.longest

    def keep(self, side: int, center: bool = False) -> None:
        if side != self.shape[2] or center:
            raise ConfigError(
                f"{self.folder} is packed for data.image_size={self.header.side}, as squares of {self.shape[2]} px, "
                f"and this run reads {side} px: set that size, or pack again with another --out"
            )

    @property
    def missing(self) -> Tensor:
        """The rows that are not packed yet."""
        return torch.from_numpy(np.flatnonzero(self._aspect == 0))

    def decode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        absent = rows[torch.from_numpy(self._aspect[rows.numpy()] == 0)].unique()
        if len(absent):
            self._fill(absent)
        aspect = torch.from_numpy(np.asarray(self._aspect[rows.numpy()]))
        good = aspect > 0
        if not self.broken.keys() >= set(rows[~good].tolist()):
            self._learn_broken()  # those that another process has found
        self.check_broken()
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        wanted = good.nonzero().view(-1)
        wanted = wanted[rows[wanted].argsort()]  # ascending reads are faster
        parts = [(part.tolist(), rows[part].tolist()) for part in wanted.split(_READ)]
        list(self._pool.map(lambda part: self._read(images, *part), parts))
        return images, aspect, good

    def _read(self, images: Tensor, places: list[int], rows: list[int]) -> None:
        out = images.numpy()
        for place, row in zip(places, rows, strict=True):
            if os.preadv(self._pixels.fileno(), [out[place].data.cast("B")], row * self._bytes) != self._bytes:
                raise RunError(f"{self.folder / PIXELS} is not whole: remove {self.folder} and pack again")

    def _fill(self, rows: Tensor) -> None:
        """Decode and keep rows. An image is marked after it has reached the disk."""
        if self.source is None:
            raise ConfigError(
                f"{self.folder} lacks {len(self.missing):,} of its {len(self):,} images: finish it with clgnn pack "
                f"data.root={self.header.root} data.image_size={self.header.side} --out {self.folder}"
            )
        images, aspect, good = self.source.decode(rows)
        marks = torch.where(good, aspect, -1.0).numpy()
        try:
            for row, fine, pixels in zip(rows.tolist(), good.tolist(), images.numpy(), strict=True):
                if fine:
                    _write(self._pixels.fileno(), pixels.data.cast("B"), row * self._bytes)
                else:
                    with (self.folder / BROKEN).open("a", encoding="utf-8") as file:
                        file.write(f"{row}\t{self.source.broken[row]}\n")
            _sync(self._pixels.fileno())
            for row, mark in zip(rows.tolist(), marks, strict=True):
                _write(self._marks.fileno(), mark.tobytes(), 4 * row)
        except OSError as error:
            raise RunError(f"cannot write in {self.folder}: {error.strerror}; what is packed is kept") from None

    def _learn_broken(self) -> None:
        rows = np.flatnonzero(self._aspect < 0).tolist()
        self.broken.update((row, "broken") for row in rows if row not in self.broken)
        with suppress(OSError, ValueError):
            for line in (self.folder / BROKEN).read_text(encoding="utf-8").splitlines():
                row, _, reason = line.partition("\t")
                if int(row) in self.broken:
                    self.broken[int(row)] = reason


def is_packed(folder: Path) -> bool:
    """Whether ``clgnn pack`` or ``data.cache`` wrote a folder."""
    return (folder / INDEX).is_file() and (folder / PIXELS).is_file()


def open_packed(folder: Path, max_broken: float) -> tuple[PackedStore, Catalog]:
    """Open a packed folder in place of the pictures; ConfigError if it is not whole."""
    index = Index.read(folder)
    header = index.header
    return (
        PackedStore(folder, index, max_broken),
        Catalog(header.sizes, index.labels, header.classes, header.source),
    )


def cached(store: DecodedStore, catalog: Catalog, side: int, folder: Path, root: Path | None) -> PackedStore:
    """Keep what a store decodes in a packed folder, which is created if there is none.

    Args:
        store: the pictures; its ``keep`` has been called.
        catalog: their labels and splits, which the folder takes over.
        side: S, the side of the views.
        folder: ``data.cache``.
        root: ``data.root``, for messages.

    Raises:
        ConfigError: the folder holds other images or other files, or the disk has no room for it.
    """
    same, longest = store.sides()
    header = Header(
        store.shape, side, same, longest, store.token, catalog.sizes, catalog.classes, catalog.source, str(root)
    )
    index = Index(header, store.names, catalog.labels, store.stamps())
    if is_packed(folder):
        known = Index.read(folder)
        if change := _changed(known, index):
            raise ConfigError(
                f"data.cache={folder} does not fit data.root={root}: {change}; remove {folder} to decode anew, or name "
                "another folder"
            )
        named = ("sizes", "classes", "source")
        differ = any(getattr(known.header, key) != getattr(header, key) for key in named)
        if differ or not torch.equal(known.labels, index.labels):
            with _one_line(folder):
                index.write(folder)
    else:
        _create(folder, index)
    return PackedStore(folder, index, store.max_broken, store)


def _changed(known: Index, now: Index) -> str:
    """What of the pictures has changed since they were packed."""
    if known.header.shape[1:] != now.header.shape[1:]:
        return f"it holds squares of {known.header.shape[2]} px, and this run reads {now.header.shape[2]} px"
    if list(known.names) != list(now.names):
        before, after = set(known.names), set(now.names)
        if gone := sorted(before - after):
            return f"{gone[0]} has gone"
        return f"{min(after - before)} is new" if after - before else "the order of the images has changed"
    if known.header.token != now.header.token:
        return "it holds other images"
    changed = np.flatnonzero((known.stamps != now.stamps).any(axis=1))
    return f"{now.names[changed[0]]} has changed since" if len(changed) else ""


def _create(folder: Path, index: Index) -> None:
    """Reserve the files of a packed folder, then write its index."""
    need = int(np.prod(index.header.shape, dtype=np.int64))
    pixels = folder / PIXELS
    with _one_line(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = (PIXELS, ASPECT, BROKEN)
        if other := sorted(e.name for e in folder.iterdir() if e.name not in own and not e.name.startswith(INDEX)):
            raise ConfigError(
                f"data.cache={folder} holds other files ({other[0]}): name an empty folder, or one that clgnn pack "
                "wrote"
            )
        marks = folder / ASPECT
        if marks.exists() and np.fromfile(marks, np.float32).any() and not is_packed(folder):
            raise ConfigError(f"data.cache={folder} has lost its {INDEX}: remove the folder")
        held = pixels.stat().st_blocks * 512 if pixels.exists() else 0  # by another rank, or before a kill
        free = shutil.disk_usage(folder).free + held
        if need > free:
            raise ConfigError(
                f"data.cache={folder} takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: name a folder on "
                "another disk, a smaller data.image_size, or leave it out"
            )
        try:
            for path, size in ((pixels, need), (marks, 4 * len(index.names))):
                with path.open("ab") as file:
                    reserve(file.fileno(), size)
            index.write(folder)
        except OSError:
            if not is_packed(folder):
                pixels.unlink(missing_ok=True)
            raise


def reserve(file: int, size: int) -> None:
    """Give a file its size in zeros, with room for it on the disk where the file system can reserve room."""
    os.ftruncate(file, size)
    try:
        os.posix_fallocate(file, 0, size)
    except (OSError, AttributeError) as error:
        if getattr(error, "errno", errno.EINVAL) not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _write(file: int, data: bytes | memoryview, place: int) -> None:
    """Write all of ``data``; the system may take less than that at a time, and says why the next time."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(file, rest, place)
        rest, place = rest[done:], place + done


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write in {folder}: {error.strerror or error}") from None
