"""Sets of images that torchvision reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import ConcatDataset
from torchvision import datasets
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from cl_as_gnn.config import AugmentConfig, DataConfig, PhotoConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import Catalog, Parts, Rows, Split
from cl_as_gnn.datasets.photos import read_photos
from cl_as_gnn.datasets.store import ItemStore, JoinedStore, MappedStore
from cl_as_gnn.errors import ConfigError, unknown


class _Torchvision(ImageDataset):
    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        name, root = config.name, config.root or Path("data")
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
        return Parts(tuple(parts[0].classes), train, test)


class CIFARConfig(DataConfig):
    name: Literal["cifar10", "cifar100"] = "cifar10"


class CIFAR(_Torchvision):
    """50,000 training and 10,000 test images of 32 × 32 px."""

    Config = CIFARConfig
    summary = "60,000 color images of 32 × 32 px in 10 or 100 classes, torchvision's files"


class STLConfig(DataConfig):
    name: Literal["stl10"] = "stl10"
    unlabeled: bool = Field(True, description="also train on the 100,000 images without labels")


class STL(_Torchvision):
    """Images of 96 × 96 px: 5,000 labeled training, 8,000 test, and 100,000 unlabeled ones, read by the batch."""

    Config = STLConfig
    summary = "color images of 96 × 96 px, torchvision's files: 13,000 labeled, 100,000 unlabeled"
    augment = AugmentConfig(blur=0.5)

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        parts = super().parts(config, progress)
        if not config.unlabeled:
            return parts
        folder = (config.root or Path("data")) / "stl10_binary"
        stores = []
        for name in ("train_X.bin", "unlabeled_X.bin"):
            count, rest = divmod((folder / name).stat().st_size, 3 * 96 * 96)
            if rest or not count:
                raise ConfigError(f"{folder / name} is not whole: fetch it again, or set data.unlabeled=false")
            stores.append(MappedStore(folder / name, (count, 3, 96, 96)))
        store = JoinedStore(stores)
        at = torch.arange(len(store))
        labeled, bare = at[: len(stores[0])], at[len(stores[0]) :]
        train = Split(Rows(store, labeled), parts.train.labels)
        unlabeled = Split(Rows(store, bare), torch.full((len(bare),), -1))
        note = f"{len(labeled):,} images with labels and {len(bare):,} without, read by the batch"
        return parts._replace(train=train, unlabeled=unlabeled, notes=(note,))


class AnyConfig(PhotoConfig):
    name: str = "torchvision/<dataset>"


class AnyTorchvision(ImageDataset):
    """A data set of pictures and classes in ``torchvision.datasets``, such as ``torchvision/EuroSAT``.

    Its own ``train`` and ``test`` splits are used where it has them, and its ``val`` as the validation set. Its files
    are read from ``data.root`` (``data`` if not given), or else downloaded.
    """

    Config = AnyConfig
    summary = "any data set of torchvision with pictures and classes, such as torchvision/EuroSAT"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        opened = open_any(config.name.partition("/")[2], config.root or Path("data"))
        sizes = [len(part) for part in opened.values()]
        items: ConcatDataset[Any] = ConcatDataset(list(opened.values()))
        labels = torch.cat([_labels_of(part, config.name) for part in opened.values()])
        first = next(iter(opened.values()))
        named = [str(name) for name in getattr(first, "classes", ())]
        count = int(labels.max()) + 1
        classes = tuple(named) if len(named) >= count else tuple(map(str, range(count)))
        store = ItemStore(lambda row: items[row][0], len(labels), config.max_broken, config.name)
        catalog = Catalog(dict(zip(opened, sizes, strict=True)), labels, classes, "")
        return read_photos(config, store, catalog, progress)


def open_any(name: str, root: Path) -> dict[str, Any]:
    """The splits ``train``, ``validation`` and ``test`` of a data set of torchvision, of which it may have fewer."""
    kind = getattr(datasets, name, None)
    if not (isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)) or name == "VisionDataset":
        known = [k for k in datasets.__all__ if isinstance(getattr(datasets, k, None), type)]
        raise ConfigError(unknown("data set", name, known, key="data.name=torchvision/<dataset>"))
    takes = inspect.signature(kind).parameters
    place = {"root": root} if "root" in takes else {}

    def build(**split: Any) -> Any:
        if "download" not in takes:
            return kind(**place, **split)
        try:
            return kind(**place, download=False, **split)
        except RuntimeError:  # torchvision's "not found or corrupted"
            return kind(**place, download=True, **split)

    out: dict[str, Any] = {}
    try:
        if "split" in takes:
            for split, mine in (("train", "train"), ("trainval", "train"), ("val", "validation"), ("test", "test")):
                if mine not in out:
                    with suppress(ValueError):  # torchvision's "unknown value of split"
                        out[mine] = build(split=split)
        elif "train" in takes:
            out = {"train": build(train=True), "test": build(train=False)}
        else:
            out = {"train": build()}
    except (OSError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"torchvision/{name} cannot be read from data.root={root} ({reason}): put its files there as torchvision "
            "lays them out, or lay the images out as a folder"
        ) from error
    if "train" not in out:
        raise ConfigError(f"torchvision/{name} has no training split: lay its images out as a folder")
    return out


def _labels_of(part: Any, name: str) -> Tensor:
    """The classes of a data set's items, without decoding the pictures where the data set lists them."""
    for attribute in ("targets", "labels", "_labels", "y"):
        listed = getattr(part, attribute, None)
        if listed is not None and len(listed) == len(part):
            break
    else:
        samples = getattr(part, "_samples", None) or getattr(part, "samples", None)
        listed = [sample[1] for sample in samples] if samples else [part[i][1] for i in range(len(part))]
    try:
        labels = torch.as_tensor(np.asarray(listed).astype(np.int64))
    except (TypeError, ValueError):
        labels = torch.empty(0)
    if labels.dim() != 1 or int(labels.min()) < 0:
        raise ConfigError(f"data.name={name} has no one class per picture: lay the images out as a folder")
    return labels
