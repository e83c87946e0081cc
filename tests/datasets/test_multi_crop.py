"""Views of two sizes."""

import pytest
import torch

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews, MultiCrop
from cl_as_gnn.datasets.multi_crop import local_size

STATS = ((0.0,) * 3, (1.0,) * 3)


def test_the_last_views_are_small_and_the_others_drawn_as_ever():
    images = torch.randint(256, (4, 3, 40, 40), dtype=torch.uint8)
    config = AugmentConfig(local_views=3, local_size=12)
    whole, local = MultiCrop(config, 28, 3, *STATS)(images, 5, torch.Generator().manual_seed(0))
    assert (whole.shape, local.shape) == ((8, 3, 28, 28), (12, 3, 12, 12))
    alone = BatchedViews(config, 28, 3, *STATS)(images, 2, torch.Generator().manual_seed(0))
    assert torch.equal(whole, alone)


def test_small_views_keep_the_local_share_of_the_area():
    ramp = torch.arange(64).repeat(64, 1).expand(200, 3, -1, -1).to(torch.uint8)
    plain = {"flip": 0.0, "jitter_prob": 0.0, "grayscale": 0.0, "crop_ratio": (1.0, 1.0)}
    config = AugmentConfig.model_validate({**plain, "local_views": 1, "local_size": 16, "local_scale": (0.0625, 0.25)})
    _, local = MultiCrop(config, 32, 3, *STATS)(ramp, 3, torch.Generator().manual_seed(0))
    wide = (local[:, 0, 8, -2] - local[:, 0, 8, 1]) * 255 * 16 / 13
    assert 15 < float(wide.min()) < 18
    assert 30 < float(wide.max()) < 33


@pytest.mark.parametrize(("side", "small"), [(224, 96), (96, 40), (64, 24), (8, 8)])
def test_the_side_of_small_views(side, small):
    assert local_size(AugmentConfig(), side) == small
