"""Sets of images that torchvision reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from cl_as_gnn.config import AugmentConfig, DataConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import Parts, Split
from cl_as_gnn.errors import ConfigError


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


class STL(_Torchvision):
    """The 5,000 labeled training and 8,000 test images of 96 × 96 px, without the 100,000 unlabeled ones."""

    Config = STLConfig
    summary = "the 13,000 labeled color images of 96 × 96 px, torchvision's files"
    augment = AugmentConfig(blur=0.5)
