"""An encoder for each group of channels."""

import pytest
import torch

from cl_as_gnn.encoders import Inputs, SideBySide, build_encoder
from cl_as_gnn.encoders.small import SmallConfig
from cl_as_gnn.errors import ConfigError


def test_each_encoder_sees_its_channels_alone():
    encoder = build_encoder(SmallConfig(width=8, split=1), Inputs(3, 8)).eval()
    assert isinstance(encoder, SideBySide)
    x = torch.randn(4, 3, 8, 8)
    out = encoder(x)
    assert out.shape == (4, encoder.out_dim) == (4, 128)
    torch.testing.assert_close(out[:, :64], encoder.parts[0](x[:, :1]))
    torch.testing.assert_close(out[:, 64:], encoder.parts[1](x[:, 1:]))
    x[:, 1:] = 0
    assert torch.equal(encoder(x)[:, :64], out[:, :64])
    assert not torch.equal(encoder(x)[:, 64:], out[:, 64:])


def test_the_settings_of_each_encoder_hold():
    encoder = build_encoder(SmallConfig(width=8, split=2, layer_decay=0.5), Inputs(3, 8))
    alone = build_encoder(SmallConfig(width=8, layer_decay=0.5), Inputs(2, 8))
    own = {name.removeprefix("parts.0."): f for name, f in encoder.rate_factors().items() if "parts.0." in name}
    assert own == alone.rate_factors()
    assert len(set(own.values())) > 1
    names = dict(encoder.named_parameters())
    assert encoder.rate_factors().keys() <= names.keys()
    assert encoder.no_weight_decay() == {name for name, parameter in names.items() if parameter.dim() <= 1}


def test_mistakes_are_one_line():
    with pytest.raises(ConfigError, match=r"encoder.split=1 of 1 channel leaves none for the second encoder"):
        build_encoder(SmallConfig(split=1), Inputs(1, 8))
    with pytest.raises(ConfigError, match=r"encoder.split=3 of 3 channels .* or a smaller encoder.split"):
        build_encoder(SmallConfig(split=3), Inputs(3, 8))
    config = SmallConfig(split=1, weights="w.safetensors")
    with pytest.raises(
        ConfigError, match=r"encoder.weights=w.safetensors are of one encoder, and encoder.split=1 makes"
    ):
        build_encoder(config, Inputs(3, 8)).start(config)
