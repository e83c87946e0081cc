"""A folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import SUFFIXES, TEST_SHARE, Parts, Split, decode, image_files, split_off
from cl_as_gnn.errors import ConfigError

UNLABELED = ("unlabeled", "unlabelled")


class FolderConfig(DataConfig):
    name: Literal["folder"] = "folder"


class Folder(ImageDataset):
    """RGB images in class folders: ``root/train/<class>/*`` and likewise ``root/validation/`` (or ``val/``) and
    ``root/test/``, or ``root/<class>/*`` alone. Without ``test/`` a stratified quarter is the test set.
    ``root/unlabeled/`` holds more training images, at any depth. Hidden files and files that are not images are
    skipped, and photographs are turned upright.
    """

    Config = FolderConfig
    summary = "your own images: FOLDER/train/<class>/*, test/, val/ and unlabeled/, or FOLDER/<class>/*"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        root = config.root
        if root is None:
            raise ConfigError("data.name=folder needs the folder of the images: set data.root=PATH")
        if not root.is_dir():
            raise ConfigError(f"data.root={root} is no folder: give the one that holds train/ and test/, or <class>/*")
        train, validation, test = (_one_of(root, names) for names in (("train",), ("validation", "val"), ("test",)))
        if train is None and (other := test or validation) is not None:
            raise ConfigError(
                f"data.root={root} has {other.name}/ but no train/: add it, or put the class folders straight under "
                "data.root for a random quarter as the test set"
            )
        listed = {"train": _class_files(train or root)}
        classes = tuple(listed["train"])
        if len(classes) < 2:
            raise ConfigError(
                f"data.root={root} holds one class ({classes[0]!r}), evaluation expects two or more: add class folders"
            )
        for name, folder in (("validation", validation), ("test", test)):
            if folder is not None:
                listed[name] = _class_files(folder)
                if unknown := sorted(set(listed[name]) - set(classes)):
                    raise ConfigError(
                        f"data.root={root}: {folder.name}/ has the class {unknown[0]!r}, which train/ lacks: "
                        f"add train/{unknown[0]}/ or remove {folder.name}/{unknown[0]}/"
                    )
        if (folder := _one_of(root, UNLABELED)) is not None:
            listed["unlabeled"] = {"": image_files(folder)}
        splits = _decoded(listed, classes, config, progress)
        if "test" not in splits:
            purpose = "a test set of one quarter"
            splits["train"], splits["test"] = split_off(
                splits["train"], TEST_SHARE, classes, purpose, config.split_seed
            )
        return Parts(classes, **splits)


def _one_of(root: Path, names: tuple[str, ...]) -> Path | None:
    """The folder of one of the names; ConfigError if several exist."""
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise ConfigError(f"data.root={root} has {names[0]}/ and {names[1]}/, which mean the same: join them")
    return found[0] if found else None


def _decoded(
    listed: dict[str, dict[str, list[Path]]], classes: tuple[str, ...], config: Any, progress: bool
) -> dict[str, Split]:
    """The splits, of one size: all files are decoded together."""
    label = {name: i for i, name in enumerate(classes)} | {"": -1}
    paths = [path for split in listed.values() for files in split.values() for path in files]
    labels = [label[name] for split in listed.values() for name, files in split.items() for _ in files]
    names = tuple(path.relative_to(config.root).as_posix() for path in paths)
    whole = Split(decode(paths, config.image_size, progress), torch.tensor(labels), names)
    sizes = [sum(map(len, split.values())) for split in listed.values()]
    return {name: whole.take(part) for name, part in zip(listed, torch.arange(len(paths)).split(sizes), strict=True)}


def _class_files(root: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, in alphabetical order of both."""

    def shown(folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

    folders = [path for path in shown(root) if path.is_dir() and path.name not in UNLABELED]
    files = {folder.name: [path for path in shown(folder) if path.suffix.lower() in SUFFIXES] for folder in folders}
    if not files:
        raise ConfigError(f"{root} holds no class folders: put the images at {root / '<class>' / '*.png'}")
    for name, found in files.items():
        if not found:
            raise ConfigError(f"{root / name} holds no images (such as .png or .jpg): add some or remove the folder")
    return files
