"""Pictures that are kept whole, resized to squares: their views and center squares are those of the pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.datasets.resize import center_square


def views(config: AugmentConfig, size: int) -> BatchedViews:
    """Views on the plain scale [0, 1]."""
    return BatchedViews(config, size, 3, (0.0,) * 3, (1.0,) * 3)


def natural(count: int, size: int) -> Tensor:
    """Smooth colored blobs."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 220
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 255).round().to(torch.uint8)


def test_crops_of_resized_pictures_are_those_of_the_whole_pictures() -> None:
    drawn = views(AugmentConfig(crop_scale=(0.1, 1.0)), 16)
    aspect = torch.tensor([0.2, 0.5, 1.0, 1.5, 6.0]).repeat(2000)
    top, left, tall, wide = drawn.draw_crops(len(aspect), 64, 64, torch.Generator().manual_seed(0), aspect)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 64 + 1e-4).all()
    assert (left + wide <= 64 + 1e-4).all()
    ratio, area = wide / tall * aspect, wide * tall / 64**2
    assert ratio.min() > 3 / 4 - 1e-4
    assert ratio.max() < 4 / 3 + 1e-4
    assert area.min() >= 0.1 - 1e-4
    assert area[2::5].max() > 0.95
    # Of a square, the same law as without resizing.
    plain = drawn.draw_crops(len(aspect), 64, 64, torch.Generator().manual_seed(1))
    for resized, whole in zip((top, left, tall, wide), plain, strict=True):
        assert abs(float(resized[2::5].mean() - whole.mean())) < 1


def test_a_view_of_a_resized_picture_shows_what_a_view_of_the_picture_shows() -> None:
    picture = natural(1, 64)[..., :32]  # 32 wide, 64 high
    square = torch.nn.functional.interpolate(picture.float(), (64, 64), mode="bilinear").round().to(torch.uint8)
    config = AugmentConfig(crop_scale=(1, 1), crop_ratio=(0.5, 0.5), flip=0, jitter_prob=0, grayscale=0)
    drawn = views(config, 16)
    assert (drawn(square, aspect=torch.tensor([0.5])) - drawn(picture)).abs().mean() < 0.01


@pytest.mark.parametrize("aspect", [0.5, 1.0, 3.0])
def test_center_squares_are_those_of_pillow(aspect: float) -> None:
    wide, tall = (96, round(96 / aspect)) if aspect > 1 else (round(96 * aspect), 96)
    picture = Image.fromarray(natural(1, 96)[0, :, :tall, :wide].permute(1, 2, 0).numpy())
    kept = torch.from_numpy(np.array(picture.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    short = min(picture.size)
    left, top = (wide - short) / 2, (tall - short) / 2
    box = (left, top, left + short, top + short)
    expected = np.array(picture.resize((16, 16), Image.Resampling.BILINEAR, box=box)).transpose(2, 0, 1)
    got = center_square(kept[None], torch.tensor([wide / tall]), 16)[0]
    assert np.abs(got.numpy().astype(int) - expected).mean() < 3
