"""The small vision transformer: its patches, what attends to what, and its tokens."""

import pytest
import torch

from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.encoders.vit import patches
from cl_as_gnn.errors import ConfigError


def vit(side=8, channels=1, **settings):
    torch.manual_seed(0)
    return build_encoder(ENCODERS["vit"].Config(width=8, depth=2, **settings), Inputs(channels, side))


def test_patches_are_squares_in_reading_order():
    x = torch.randn(2, 3, 8, 8)
    cut = patches(x, 4)
    assert cut.shape == (2, 4, 48)
    assert torch.equal(cut[:, 1], x[:, :, :4, 4:].flatten(1))
    assert torch.equal(cut[:, 2], x[:, :, 4:, :4].flatten(1))


@pytest.mark.parametrize(("side", "patch"), [(4, 2), (8, 2), (28, 4), (32, 4), (96, 12)])
def test_the_default_patch_divides_the_image_into_8_times_8_at_most(side, patch):
    assert vit(side).patch == patch


def test_the_features_are_the_mean_of_patches_that_know_their_place():
    encoder, x = vit(), torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(encoder(x), encoder.maps(x).mean((2, 3)))
    assert not torch.allclose(encoder(x), encoder(x.flip(3)), atol=1e-3)
    assert encoder.position.unique(dim=0).shape == encoder.position.shape


@pytest.mark.parametrize("causal", [False, True])
def test_a_causal_patch_sees_only_those_before_it(causal):
    encoder, x = vit(causal=causal).double(), torch.randn(1, 1, 8, 8, dtype=torch.double)
    other = x.clone()
    other[..., 4:, :] += 1  # patches 8 to 15
    moved = (encoder.mix(encoder.embed(x)) - encoder.mix(encoder.embed(other))).abs().amax((0, 2))
    assert (moved[8:] > 1e-6).all()
    assert (moved[:8] < 1e-12).all() == causal


def test_patches_are_read_as_their_nearest_token():
    encoder, x = vit(tokens=5), torch.randn(3, 1, 8, 8)
    expected = torch.cdist(patches(x, 2), encoder.codebook).argmin(2)
    assert torch.equal(encoder.token(x), expected)
    same = encoder.codebook[expected].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(encoder(torch.nn.functional.pixel_shuffle(same, 2)), encoder(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"patch": 3}, "encoder.patch=3 does not divide"), ({"attention_heads": 3}, "encoder.attention_heads=3 does not")],
)
def test_what_does_not_divide_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        vit(**settings)
