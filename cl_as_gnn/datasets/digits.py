"""scikit-learn's digits."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from cl_as_gnn.config import AugmentConfig, DataConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.images import TEST_SHARE, Parts, Split, split_off


class DigitsConfig(DataConfig):
    name: Literal["digits"] = "digits"


class Digits(ImageDataset):
    """1,797 gray images of 8 × 8 px; a stratified quarter (450 images) is the test set."""

    Config = DigitsConfig
    summary = "scikit-learn's 1,797 gray images of 8 × 8 px, nothing to download"
    augment = AugmentConfig(
        crop_scale=(0.7, 1.0), crop_ratio=(4 / 5, 5 / 4), rotate=25, flip=0, jitter=(0.4, 0.4, 0, 0), grayscale=0
    )

    @classmethod
    def parts(cls, config: Any, progress: bool) -> Parts:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(np.rint(pixels * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
        classes = tuple(str(digit) for digit in range(10))
        every = Split(images, torch.from_numpy(labels).long())
        return Parts(classes, *split_off(every, TEST_SHARE, classes, "a test set", config.split_seed))
