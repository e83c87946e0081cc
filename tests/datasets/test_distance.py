"""Crops that lie a given distance apart, read from the shade of an image that gets brighter along its sides."""

import pytest
import torch
from torch import Tensor

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews


def views(scale: float, distance: float, size: int) -> BatchedViews:
    plain = AugmentConfig(
        crop_scale=(scale, scale),
        crop_ratio=(1, 1),
        distance=distance,
        rotate=0,
        flip=0,
        jitter=(0, 0, 0, 0),
        jitter_prob=0,
        grayscale=0,
    )
    return BatchedViews(plain, size, 3, (0.0,) * 3, (1.0,) * 3)


def place(shade: Tensor, pixels: int) -> Tensor:
    """Where crops begin, in pixels, of views of an image that is as bright as its pixels are far from its start."""
    return (shade * 255 - pixels / 2 + 0.5).round()


@pytest.mark.parametrize("distance", [0, 0.125, 0.5])
def test_crops_lie_the_distance_apart_everywhere_in_the_image(distance: float) -> None:
    ramp = torch.arange(32, dtype=torch.uint8)
    images = torch.stack([ramp.expand(32, 32), ramp.view(32, 1).expand(32, 32), 0 * ramp.expand(32, 32)])
    out = views(9 / 64, distance, 12)(images.expand(500, 3, 32, 32), 4)
    left, top = (place(out[:, c].mean((1, 2)).view(4, 500), 12) for c in (0, 1))
    for start in (left, top):
        assert torch.equal(start[0], start[2])
        assert torch.allclose(start[1] - start[0], torch.tensor(32.0 * distance), atol=1)
        assert (start[0].min(), start[1].max()) == (0, 20)
        assert len(start[0].unique()) == 21 - 32 * distance
    assert not torch.equal(left[0], top[0])


def test_crops_that_are_too_long_for_their_distance_lie_at_the_ends() -> None:
    images = torch.arange(16, dtype=torch.uint8).expand(8, 3, 64, 16)
    left = views(0.2, 0.5, 14)(images, 2)[:, 0].mean((1, 2)).view(2, 8)
    assert bool((left[1] > left[0]).all())
    assert torch.equal(left[0], left[0, :1].expand(8))
