"""Frames of digits over photographs, and views that share some of their factors."""

import pytest
import torch

from cl_as_gnn.config import build_config
from cl_as_gnn.datasets.factors import FACTORS, ROOM, SIDE, Factors, FactorsConfig, FactorViews, Frames, Layers
from cl_as_gnn.errors import ConfigError


@pytest.fixture(scope="module")
def layers():
    """Digits of one gray level each, and backgrounds whose red, green and blue tell number, row and column."""
    digits = torch.tensor([50, 100, 150, 200], dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    backgrounds = torch.empty(3, 3, SIDE, SIDE, dtype=torch.uint8)
    backgrounds[:, 0] = torch.tensor([0, 100, 200]).view(-1, 1, 1)
    backgrounds[:, 1], backgrounds[:, 2] = torch.arange(SIDE).view(-1, 1), torch.arange(SIDE)
    return Layers(digits, backgrounds)


def test_a_frame_is_a_white_digit_over_its_background(layers):
    frames = Frames(torch.tensor([1, 2]), torch.tensor([2, 0]), torch.tensor([[0, 16], [5, 3]]))
    painted = layers.paint(frames)
    for image, digit, background, (top, left) in zip(painted, *frames, strict=True):
        expected = layers.backgrounds[background].float() / 255
        alpha = min(1, (50 + 50 * int(digit)) * 1.4 / 255)
        inside = (slice(None), slice(int(top), int(top) + 16), slice(int(left), int(left) + 16))
        expected[inside] = expected[inside] * (1 - alpha) + alpha
        torch.testing.assert_close(image, expected)
    assert torch.equal(layers.images(frames), (painted * 255).round().byte())


def test_the_background_is_mirrored_and_moved_with_reflection(layers):
    nothing = Layers(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), layers.backgrounds)
    frames = Frames(torch.zeros(2, dtype=torch.long), torch.tensor([0, 0]), torch.zeros(2, 2, dtype=torch.long))
    shift, flip = torch.tensor([[3, -2], [0, 0]]), torch.tensor([False, True])
    first, second = (nothing.paint(frames, shift, flip)[:, 1:] * 255).round().long()
    assert first[0, :, 0].tolist() == [*range(3, 32), 30, 29, 28]
    assert first[1, 0].tolist() == [2, 1, *range(30)]
    assert second[1, 0].tolist() == list(range(31, -1, -1))


@pytest.mark.parametrize("share", [(name,) for name in FACTORS] + [("digit", "position"), FACTORS])
def test_views_share_what_they_are_told(layers, share):
    painted = []
    layers.paint = lambda frames, *nuisance: painted.append(frames) or Layers.paint(layers, frames, *nuisance)
    try:
        frames = layers.draw(200, torch.Generator().manual_seed(0))
        index = torch.arange(199, -1, -1)
        views = FactorViews(layers, frames, share, (0.5,) * 3, (0.25,) * 3)
        drawn = views(index, 3, torch.Generator().manual_seed(1))
    finally:
        del layers.paint
    assert drawn.shape == (600, 3, SIDE, SIDE)
    for name in FACTORS:
        own, seen = getattr(frames, name)[index], getattr(painted[0], name).unflatten(0, (3, 200))
        kept = (seen - own).abs().flatten(2).amax(2) if name == "position" else (seen != own).long()
        slack = 1 if name == "position" else 0
        same = float((kept <= slack).float().mean())
        assert same == 1 if name in share else same < 0.5, name
        if name == "position":
            assert int(seen.min()) >= 0
            assert int(seen.max()) <= ROOM
    again = views(index, 3, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)


def test_no_split_shares_a_digit_or_a_background(write_classes, tmp_path):
    data = Factors.load(FactorsConfig(root=write_classes(tmp_path), frames=400, share=("position",)), progress=False)
    assert [len(getattr(data, name)) for name in ("train", "validation", "test")] == [400, 100, 100]
    assert data.train.images.shape == (400, 3, SIDE, SIDE)
    tables = [data.layers[name] for name in ("train", "validation", "test")]
    assert sum(len(table.digits) for table in tables) == 1797
    assert sum(len(table.backgrounds) for table in tables) == 80
    for split in ("train", "test"):
        targets = data.targets(split)
        assert torch.equal(targets["digit"], getattr(data, split).labels)
        assert targets["background"].unique().tolist() == [0, 1]
    assert "views share position" in data.notes[0]
    assert len(data.pooled().train) == 400


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"expects one to three of digit, background, position, each once, got \[\]"):
        build_config({"data": {"name": "factors", "share": []}})
    with pytest.raises(ConfigError, match=r"set data.root=FOLDER"):
        Factors.load(FactorsConfig())
