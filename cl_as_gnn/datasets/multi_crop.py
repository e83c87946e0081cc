"""Views of two sizes: some of the whole image, and small ones of small parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets.augment import BatchedViews


class MultiCrop(nn.Module):
    """Multi-crop, as in `SwAV <https://arxiv.org/abs/2006.09882>`_: the last views of each image are small.

    Small views keep ``config.local_scale`` of the area and are otherwise drawn as the others; probabilities that
    alternate between views alternate among the views of each size.

    Args:
        config: with ``local_views`` of at least 1.
        image_size: side S of the other views.
        channels, mean, std: as in :class:`BatchedViews`.

    Attributes:
        whole: draws the other views.
    """

    def __init__(
        self, config: AugmentConfig, image_size: int, channels: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.local_views, size = config.local_views, local_size(config, image_size)
        self.whole = BatchedViews(config, image_size, channels, mean, std)
        small = config.model_copy(update={"crop_scale": config.local_scale, "distance": None})
        self.local = BatchedViews(small, size, channels, mean, std)

    def forward(
        self,
        images: Tensor,
        num_views: int,
        generator: torch.Generator | None = None,
        aspect: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw ``num_views`` views of every image, ``local_views`` of them small.

        Returns:
            Views ``((num_views − local_views) · B, C, S, S)`` and ``(local_views · B, C, s, s)``, each view-major.
        """
        whole = self.whole(images, num_views - self.local_views, generator, aspect)
        return whole, self.local(images, self.local_views, generator, aspect)


def local_size(config: AugmentConfig, image_size: int) -> int:
    """The side of small views: that of the config, or 3/7 of ``image_size`` (96 of 224 px) to the nearest 8 px."""
    return config.local_size or max(8, round(image_size * 3 / 56) * 8)
