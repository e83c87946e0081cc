"""Shifts of test images, each compared with an implementation of its own."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from cl_as_gnn.config import SHIFTS
from cl_as_gnn.datasets import shifts
from cl_as_gnn.datasets.shifts import shifted
from cl_as_gnn.errors import ConfigError


def pictures(count=6, channels=3, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


def once(images, name):
    (out,) = shifted([images], name)
    return out


def test_every_shift_of_the_settings_is_there():
    assert set(SHIFTS) == set(shifts._SHIFTS)
    assert all(shifts.told(name, 32).startswith(name) for name in SHIFTS)
    with pytest.raises(ConfigError, match=r"unknown shift 'rotat' \(eval\.shifts=rotat\): did you mean 'rotate'"):
        shifted([], "rotat")


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [4, 8, 33, 120])
def test_a_shift_changes_images_alike_in_every_call(name, channels, side):
    images = pictures(channels=channels, side=side)
    kept = images.clone()
    out = once(images, name)
    assert out.dtype == torch.uint8
    assert out.shape == images.shape
    assert torch.equal(images, kept), "the images themselves stay"
    assert torch.equal(out, images) == (name == "grey" and channels == 1)
    torch.rand(3)
    assert torch.equal(once(images, name), out)
    assert torch.equal(once(images[:1], "grey"), once(images, "grey")[:1]), "a batch of one"
    assert once(images[:1], name).shape == images[:1].shape


@pytest.mark.parametrize("name", ["rotate", "noise", "cutout"])
def test_each_image_of_each_batch_has_its_own_draw(name):
    images = pictures(1, side=32).expand(4, -1, -1, -1)
    first, second = shifted([images, images], name)
    assert len({tuple(image.flatten().tolist()) for image in torch.cat([first, second])}) == 8


def test_images_turn_by_30_to_45_degrees_either_way():
    images = pictures(64, 1, 32)
    out = once(images, "rotate")
    u = torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
    degrees = (30 + 15 * u[:, 0]) * torch.where(u[:, 1] < 0.5, -1, 1)
    assert 20 < int((degrees > 0).sum()) < 44
    for image, turned, angle in zip(images, out, degrees.tolist(), strict=True):
        expected = functional.rotate(image.float(), angle, InterpolationMode.BILINEAR)
        assert (turned.float() - expected)[:, 1:-1, 1:-1].abs().mean() < 0.6, angle
        assert (turned[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).all(), "black outside"


@pytest.mark.parametrize(("side", "sigma"), [(8, 1), (32, 1), (224, 4)])
def test_the_blur_is_gaussian(side, sigma):
    images = pictures(2, 1, side)
    assert shifts.blur_sigma(side) == sigma
    expected = gaussian_filter(images.double().numpy(), sigma, axes=(2, 3), mode="mirror", truncate=3)
    np.testing.assert_allclose(once(images, "blur").double().numpy(), expected, atol=0.51)


def test_noise_is_gaussian_in_each_channel():
    images = torch.full((32, 3, 32, 32), 128, dtype=torch.uint8)
    change = (once(images, "noise").float() - 128) / 255
    assert change.std().item() == pytest.approx(0.15, rel=0.02)
    assert change.mean().item() == pytest.approx(0, abs=0.002)
    assert torch.corrcoef(change.transpose(0, 1).flatten(1)).triu(1).abs().max() < 0.02


def test_a_square_of_half_the_side_becomes_the_mean_color():
    images = pictures(64, side=16)
    out = once(images, "cutout")
    mean = images.float().mean((2, 3)).round()
    places = set()
    for image, cut, color in zip(images, out, mean, strict=True):
        inside = (cut.float() == color[:, None, None]).all(0)
        rows, columns = (inside.sum(d) >= 8 for d in (1, 0))
        assert (int(rows.sum()), int(columns.sum())) == (8, 8)
        assert inside[rows][:, columns].all()
        inside = rows[:, None] & columns[None, :]
        assert torch.equal(cut[:, ~inside], image[:, ~inside])
        places.add((int(rows.int().argmax()), int(columns.int().argmax())))
    rows, columns = zip(*places, strict=True)
    assert {min(rows), min(columns)} == {0}
    assert {max(rows), max(columns)} == {8}


def test_grey_is_the_luma_in_each_channel():
    images = pictures()
    expected = (images.double() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    out = once(images, "grey")
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])
    assert (out[:, 0] - expected).abs().max() < 0.6
