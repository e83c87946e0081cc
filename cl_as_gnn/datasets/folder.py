"""A folder of images."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.files import image_files
from cl_as_gnn.datasets.images import Catalog, Parts
from cl_as_gnn.datasets.packed import is_packed, open_packed
from cl_as_gnn.datasets.photos import read_photos
from cl_as_gnn.datasets.store import FileStore
from cl_as_gnn.errors import ConfigError

UNLABELED = ("unlabeled", "unlabelled")
_SPLITS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",), "unlabeled": UNLABELED}


class FolderConfig(PhotoConfig):
    name: Literal["folder"] = "folder"
    labels: Literal["auto", "folders", "csv", "none"] = Field(
        "auto", description="where labels come from; auto = labels.csv, else class folders, else none"
    )


@dataclass
class Listing:
    """The files of each split as paths within ``root``, and the class of each, empty where it is unknown."""

    files: dict[str, list[str]]
    classes: dict[str, list[str]] = field(default_factory=dict)
    source: str = "no labels"


class Folder(ImageDataset):
    """Images at any depth under ``root``, of any sizes, with labels or without.

    Labels are read from ``root/labels.csv`` (columns ``file`` and ``label``, which may be empty), or else from class
    folders: ``root/<class>/``, or ``root/train/<class>/`` and likewise ``validation/`` (or ``val/``) and ``test/``. A
    folder with images beside its subfolders, or with a single subfolder, has no class folders. Without ``test/`` a
    stratified quarter of the labeled images is the test set. ``root/unlabeled/`` holds more training images.

    Hidden files and files that are not images are skipped, broken ones are left out, photographs are turned upright.
    """

    Config = FolderConfig
    summary = "your own images, at any depth and of any size; labels by class folders or labels.csv, or none"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        if config.root is not None and is_packed(config.root):
            return _read_packed(config, progress)
        listing = list_folder(config)
        classes = tuple(sorted({name for names in listing.classes.values() for name in names if name}))
        notes: tuple[str, ...] = ()
        if len(classes) == 1:
            notes = (f"one class ({classes[0]!r}) only: read without labels",)
            classes, listing.classes = (), {}
        number = {name: i for i, name in enumerate(classes)} | {"": -1}
        labels = [
            torch.tensor([number[c] for c in listing.classes.get(name, [""] * len(found))])
            for name, found in listing.files.items()
        ]
        sizes = {name: len(found) for name, found in listing.files.items()}
        paths = [path for found in listing.files.values() for path in found]
        store = FileStore(config.root, paths, max_broken=config.max_broken)
        catalog = Catalog(sizes, torch.cat(labels).long(), classes, listing.source, notes)
        return read_photos(config, store, catalog, progress)


def _read_packed(config: Any, progress: bool) -> Parts:
    """The images of a packed folder in place of those from which it was made."""
    store, catalog = open_packed(config.root, config.max_broken)
    if config.labels == "none":
        catalog = replace(catalog, labels=torch.full_like(catalog.labels, -1), classes=())
    elif config.labels != "auto" and config.labels not in catalog.source:
        raise ConfigError(
            f"data.labels={config.labels}: {config.root} was packed with {catalog.source} instead: drop it, or pack "
            "again"
        )
    config = config.model_copy(update={"image_size": config.image_size or store.header.side})
    return read_photos(config, store, catalog, progress)


def list_folder(config: Any) -> Listing:
    """List the files of a config's ``data.root`` with their classes; ConfigError if the layout cannot be read."""
    root: Path | None = config.root
    if root is None:
        raise ConfigError("data.name=folder needs the folder of the images: set data.root=PATH")
    if not root.is_dir():
        raise ConfigError(f"data.root={root} is no folder: give the one that holds the images")
    files = _by_split(root)
    table = root / "labels.csv"
    if config.labels == "csv" or (config.labels == "auto" and table.is_file()):
        return Listing(files, listed_classes(table, files, f"an image under {root}"), "labels.csv")
    if config.labels == "none":
        return Listing(files)
    folders = {name: [_class_of(path, name) for path in found] for name, found in files.items()}
    known = set(folders["train"])
    loose = [path for path, c in zip(files["train"], folders["train"], strict=True) if not c]
    if loose and (config.labels == "folders" or len(files) > 1):
        raise ConfigError(
            f"data.root={root}: {loose[0]} lies in no class folder: move it into one, or read all images without "
            "labels by data.labels=none"
        )
    if loose:
        return Listing({"train": files["train"]}, source="no labels")
    for name in ("validation", "test"):
        if name in files and (unknown := sorted(set(folders[name]) - known)):
            split = _folder_of(root, name)
            assert split is not None
            raise ConfigError(
                f"data.root={root}: {split.name}/ has the class {unknown[0]!r}, which train/ lacks: "
                f"add train/{unknown[0]}/ or remove {split.name}/{unknown[0]}/"
            )
    return Listing(files, folders, "folders")


def _by_split(root: Path) -> dict[str, list[str]]:
    """The files of each split, those of a root without ``train/`` as training files."""
    folders = {name: _folder_of(root, name) for name in _SPLITS}
    if folders["train"] is None and (other := folders["test"] or folders["validation"]) is not None:
        raise ConfigError(
            f"data.root={root} has {other.name}/ but no train/: add it, or put all images straight under data.root "
            "for a random quarter as the test set"
        )
    if folders["train"] is None:
        every = image_files(root)
        more = folders["unlabeled"]
        if more is None:
            return {"train": every}
        prefix = f"{more.name}/"
        split = {"train": [f for f in every if not f.startswith(prefix)]}
        split["unlabeled"] = [f for f in every if f.startswith(prefix)]
        return split if split["train"] else {"train": every}
    return {
        name: [f"{folder.name}/{file}" for file in image_files(folder)]
        for name, folder in folders.items()
        if folder is not None
    }


def _folder_of(root: Path, split: str) -> Path | None:
    """The folder of a split; ConfigError if it has several names."""
    names = _SPLITS[split]
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise ConfigError(f"data.root={root} has {names[0]}/ and {names[1]}/, which mean the same: join them")
    return found[0] if found else None


def _class_of(file: str, split: str) -> str:
    """The first folder of a file within its split, empty if it lies in none."""
    first, inside, rest = file.partition("/")
    if first in _SPLITS[split] and inside:
        first, inside, _ = rest.partition("/")
    return sys.intern(first) if inside and split != "unlabeled" else ""


def listed_classes(table: Path, files: dict[str, list[str]], what: str) -> dict[str, list[str]]:
    """The class of each file by a table like ``labels.csv``; empty for files without a row or without a label.

    ConfigError if the table cannot be read, or names a file that is not among ``files``, that is not ``what``.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{table} cannot be read ({error}): it is a table with the columns file and label") from None
    if not {"file", "label"} <= set(reader.fieldnames or ()):
        raise ConfigError(f"{table} has the columns {reader.fieldnames or []}: name two of them file and label")
    given: dict[str, str] = {}
    for row in rows:
        file, label = (row["file"] or "").strip().removeprefix("./"), (row["label"] or "").strip()
        if given.setdefault(file, label) != label:
            raise ConfigError(f"{table} gives {file} two labels, {given[file]!r} and {label!r}: keep one")
    known = {path for found in files.values() for path in found}
    if missing := [file for file in given if file not in known]:
        raise ConfigError(
            f"{table} names {missing[0]!r}, which is not {what} ({len(missing)} such rows): give paths as in "
            f"{next(iter(known))!r}"
        )
    return {name: [given.get(path, "") for path in found] for name, found in files.items()}
