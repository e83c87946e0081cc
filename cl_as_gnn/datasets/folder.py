"""A folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import SUFFIXES, TEST_SHARE, Parts, Split, decode, split_off
from cl_as_gnn.errors import ConfigError


class FolderConfig(DataConfig):
    name: Literal["folder"] = "folder"


class Folder(ImageDataset):
    """RGB images ``root/train/<class>/*`` and ``root/test/<class>/*``, or ``root/<class>/*``, of which a stratified
    quarter is the test set. Hidden files and files that are not images are skipped.
    """

    Config = FolderConfig
    summary = "your own images, FOLDER/train/<class>/* and FOLDER/test/<class>/*, or FOLDER/<class>/*"

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
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
        images = decode([path for path, _ in listed], config.image_size, progress)
        labels = torch.tensor([label for _, label in listed])
        if has_test:
            count = sum(len(files) for files in train_files.values())
            return classes, Split(images[:count], labels[:count]), Split(images[count:], labels[count:])
        purpose = "a test set of one quarter"
        return classes, *split_off(Split(images, labels), TEST_SHARE, classes, purpose, config.split_seed)


def _class_files(root: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, in alphabetical order of both."""

    def shown(folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

    folders = [path for path in shown(root) if path.is_dir()]
    files = {folder.name: [path for path in shown(folder) if path.suffix.lower() in SUFFIXES] for folder in folders}
    if not files:
        raise ConfigError(f"{root} holds no class folders: put the images at {root / '<class>' / '*.png'}")
    for name, found in files.items():
        if not found:
            raise ConfigError(f"{root / name} holds no images (such as .png or .jpg): add some or remove the folder")
    return files
