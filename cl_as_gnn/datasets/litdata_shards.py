"""Data sets in the chunks of LitData (extra ``shards``), on this machine or in object storage."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator
from torch import Tensor

from cl_as_gnn.compat import tracked
from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.files import open_bytes
from cl_as_gnn.datasets.images import WINDOW, Catalog, Parts
from cl_as_gnn.datasets.photos import read_photos
from cl_as_gnn.datasets.store import DecodedStore
from cl_as_gnn.errors import ConfigError, RunError

_RAW = ("jpeg", "image", "bytes", "file", "tifffile")
_UNPICKLED = ("pickle", "graph")


class LitDataConfig(PhotoConfig):
    name: Literal["litdata"] = "litdata"
    root: Path | str | None = Field(  # type: ignore[assignment]
        None, description="folder or URL that litdata.optimize wrote"
    )
    image_key: str | int = Field("image", description="key (of a tuple: number) of the image in a sample")
    label_key: str | int | None = Field(
        None, description="key of the class; reads every sample once before training; None = no labels"
    )

    @field_validator("root")
    @classmethod
    def _url_is_no_path(cls, value: Path | str | None) -> Path | str | None:
        return Path(value) if isinstance(value, str) and ":" not in value else value


class LitData(ImageDataset):
    """Samples that ``litdata.optimize`` wrote, dictionaries or tuples, in a folder or at a URL such as ``s3://…``.

    The image is a picture of Pillow, the bytes of an image file, or an array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``
    of bytes; the class is a number or a text. All samples are training images; with classes, a stratified quarter is
    the test set. Samples are read by their index, so that orders, banks and resumed runs are those of any data set;
    LitData fetches the chunks and keeps them on the disk (``MAX_CACHE_SIZE`` in the environment limits how many GB).
    """

    Config = LitDataConfig
    summary = "chunks written by the package litdata, in a folder or in object storage (s3://…, gs://…)"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        store = LitStore(config.root, config.image_key, config.max_broken)
        classes, labels = store.classes(config.label_key, progress)
        catalog = Catalog({"train": len(store)}, labels, classes, f"key {config.label_key}")
        return read_photos(config, store, catalog, progress)


class LitStore(DecodedStore):
    """The images of a data set of LitData.

    Args:
        root: its folder or URL.
        key: of the image in a sample.
        max_broken: as in :class:`DecodedStore`.

    Raises:
        ConfigError: litdata is not installed, or nothing that it has written is there.
    """

    chunk_ends: Tensor

    def __init__(self, root: Path | str | None, key: str | int, max_broken: float = 0.01) -> None:
        try:
            from litdata import StreamingDataset
            from litdata.streaming.sampler import ChunkedIndex
            from litdata.streaming.serializers import Serializer
        except ImportError:
            raise ConfigError("data.name=litdata needs the package litdata: pip install 'cl-as-gnn[shards]'") from None
        if root is None:
            raise ConfigError(
                "data.name=litdata needs the samples: set data.root to the folder or URL of litdata.optimize"
            )

        class Raw(Serializer):  # type: ignore[misc]
            """Bytes as they are: the threads decode them."""

            def deserialize(self, data: Any) -> bytes:
                return bytes(data)

            def serialize(self, data: Any) -> Any:
                raise NotImplementedError

            can_serialize = serialize

        class Refused(Raw):
            def deserialize(self, data: Any) -> bytes:
                raise ConfigError(
                    f"data.root={root} holds pickled objects, which could run code: write the image as a picture or as "
                    "bytes, and the class as a number or a text"
                )

        self.root, self.key, self._index = root, key, ChunkedIndex
        serializers = dict.fromkeys(_RAW, Raw()) | dict.fromkeys(_UNPICKLED, Refused())
        try:
            self.samples = StreamingDataset(str(root), serializers=serializers)
            self.samples[0]  # opens the data set
            ends = [interval[2] for interval in self.samples.cache.get_chunk_intervals()]
        except (ConfigError, KeyboardInterrupt):
            raise
        except BaseException as error:  # of LitData, or of the client of the storage
            reason = (str(error).splitlines() or [""])[0]
            raise ConfigError(
                f"data.root={root} cannot be read by litdata ({type(error).__name__}: {reason})"
            ) from None
        # Not len(samples), which is the share of a rank.
        super().__init__([f"sample {row}" for row in range(ends[-1])], max_broken=max_broken)
        self.chunk_ends = torch.tensor(ends)
        self.token = f"{root} {ends}"
        self._lock = threading.Lock()
        self._raw: dict[int, Any] = {}

    def _sample(self, row: int) -> Any:
        chunk = int(torch.searchsorted(self.chunk_ends, row, right=True))
        try:
            return self.samples[self._index(index=row, chunk_index=chunk)]
        except (ConfigError, KeyboardInterrupt):
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise RunError(f"sample {row} of {self.root} cannot be read ({type(error).__name__}: {reason})") from None

    def _value(self, sample: Any, key: str | int, name: str) -> Any:
        try:
            return sample[key]
        except (KeyError, IndexError, TypeError):
            known = (
                f"the keys {', '.join(map(str, sample))}" if isinstance(sample, dict) else f"the type {type(sample)}"
            )
            raise ConfigError(f"data.{name}={key}: samples of {self.root} have {known}") from None

    def classes(self, key: str | int | None, progress: bool) -> tuple[tuple[str, ...], Tensor]:
        """The names of the classes and the class of every sample; none and −1 without a key."""
        if key is None:
            return (), torch.full((len(self),), -1)
        bar = tracked(range(len(self)), "Reading labels", len(self), progress)
        self.samples.on_demand_bytes = False
        with self._lock:
            values = [self._value(self._sample(row), key, "label_key") for row in bar]
        values = [value.item() if hasattr(value, "item") else value for value in values]
        names = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        number = {name: i for i, name in enumerate(names)}
        return tuple(map(str, names)), torch.tensor([number[value] for value in values])

    def open(self, row: int) -> Image.Image:
        if row in self._raw:
            return _picture(self._raw[row])
        with self._lock:
            self.samples.on_demand_bytes = True
            return _picture(self._value(self._sample(row), self.key, "image_key"))

    def decode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # LitData's reader is for one thread; ascending rows take one chunk after another.
        wanted = rows.unique()
        chunks = torch.searchsorted(self.chunk_ends, wanted, right=True).unique()
        with self._lock:
            # Of samples that are spread over many chunks their bytes are fetched, else whole chunks, which are kept.
            self.samples.on_demand_bytes = len(chunks) > 2 * WINDOW
            self._raw = {row: self._value(self._sample(row), self.key, "image_key") for row in wanted.tolist()}
            try:
                return super().decode(rows)
            finally:
                self._raw = {}


def _picture(value: Any) -> Image.Image:
    """A picture of what a sample holds; the error is one of ``UNREADABLE``."""
    if isinstance(value, Image.Image):
        return value.copy()
    if isinstance(value, bytes):
        return open_bytes(value)
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ValueError(f"{type(value).__name__} of {array.dtype} {array.shape} in place of an image")
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    return Image.fromarray(array.squeeze(2) if array.ndim == 3 and array.shape[2] == 1 else array)
