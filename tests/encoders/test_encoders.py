import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from cl_as_gnn import encoders
from cl_as_gnn.encoders.small import _MeanMax

NAMES = ["small", "resnet18", "resnet50", "vit"]


def build_encoder(name, in_channels, image_size, width=None):
    """The encoder of that name; ``width`` is a setting of ``small``."""
    settings = {"width": width or 64} if name == "small" else {}
    config = encoders.ENCODERS[name].Config(name=name, **settings)
    return encoders.build_encoder(config, encoders.Inputs(in_channels, image_size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("in_channels", "size"), [(1, 8), (3, 32)])
def test_shape_is_out_dim(name: str, in_channels: int, size: int) -> None:
    encoder = build_encoder(name, in_channels, size)
    assert encoder(torch.randn(2, in_channels, size, size)).shape == (2, encoder.out_dim)


@pytest.mark.parametrize(("name", "out_dim"), [("small", 512), ("resnet18", 512), ("resnet50", 2048)])
def test_out_dim(name: str, out_dim: int) -> None:
    assert build_encoder(name, 3, 32).out_dim == out_dim


@pytest.mark.parametrize("width", [8, 24])
def test_width_scales_small(width: int) -> None:
    encoder = build_encoder("small", 3, 16, width)
    assert encoder(torch.randn(2, 3, 16, 16)).shape == (2, encoder.out_dim) == (2, 8 * width)


@pytest.mark.parametrize(
    ("size", "side"), [(4, 4), (5, 5), (8, 4), (12, 3), (16, 4), (20, 5), (24, 3), (28, 4), (32, 4), (64, 8)]
)
def test_small_keeps_a_map_to_pool(size: int, side: int) -> None:
    maps = build_encoder("small", 1, size, 8).get_submodule("body")(torch.randn(2, 1, size, size))
    assert maps.shape[2:] == (side, side)
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_small_takes_another_side_than_its_own() -> None:
    encoder = build_encoder("small", 3, 32, 8)
    assert encoder(torch.randn(2, 3, 24, 40)).shape == (2, encoder.out_dim)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("size", "kernel", "pool"), [(32, (3, 3), nn.Identity), (65, (7, 7), nn.MaxPool2d)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_resnet_stem(name: str, size: int, kernel: tuple[int, int], pool: type[nn.Module], in_channels: int) -> None:
    encoder = build_encoder(name, in_channels, size)
    conv = encoder.get_submodule("body.conv1")
    assert isinstance(conv, nn.Conv2d)
    assert conv.in_channels == in_channels
    assert conv.kernel_size == kernel
    assert conv.stride == ((1, 1) if size <= 64 else (2, 2))
    assert isinstance(encoder.get_submodule("body.maxpool"), pool)


@pytest.mark.parametrize(
    ("name", "in_channels", "size"), [("small", 1, 8), ("small", 3, 32), ("resnet18", 3, 32), ("vit", 3, 32)]
)
def test_gradient_reaches_every_parameter(name: str, in_channels: int, size: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, in_channels, size)
    encoder(torch.randn(4, in_channels, size, size)).square().sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(
    ("name", "in_channels", "size"), [("small", 1, 8), ("small", 3, 32), ("resnet18", 3, 32), ("vit", 3, 32)]
)
def test_eval_sees_each_image_alone(name: str, in_channels: int, size: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, in_channels, size)
    x = torch.randn(6, in_channels, size, size)
    with torch.no_grad():
        encoder(x)
        encoder.eval()
        whole = encoder(x)
        torch.testing.assert_close(encoder(x), whole, rtol=0, atol=0)
        torch.testing.assert_close(encoder(x[2:3]), whole[2:3], rtol=1e-4, atol=1e-4)


def test_small_is_the_same_from_either_memory_format_and_after_a_copy() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("small", 3, 32, 16).eval()
    x = torch.randn(4, 3, 32, 32)
    y = encoder(x)
    torch.testing.assert_close(encoder(x.contiguous(memory_format=torch.channels_last)), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(copy.deepcopy(encoder)(x), y)


def test_small_gives_mean_and_maximum_over_positions_side_by_side() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("small", 3, 32, 8).double()
    maps: list[torch.Tensor] = []
    encoder.get_submodule("body").register_forward_hook(lambda *args: maps.append(args[2]))
    y = encoder(torch.randn(5, 3, 32, 32, dtype=torch.float64))
    expected = torch.cat([maps[0].mean((2, 3)), maps[0].amax((2, 3))], 1)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("dtype", [torch.double, torch.bfloat16])
def test_equal_maxima_share_the_slope(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(4, (7, 9, 5), generator=generator).to(dtype).requires_grad_()
    slope = torch.randn(7, 10, generator=generator).to(dtype)
    expected = torch.cat([x.mean(1), x.amax(1)], 1)
    assert ((x == x.amax(1, keepdim=True)).sum(1) > 1).any()
    out = _MeanMax.apply(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    ours, theirs = (torch.autograd.grad(y, x, slope)[0] for y in (out, expected))
    torch.testing.assert_close(ours, theirs)


def test_small_is_traced_and_transformed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, x = build_encoder("small", 3, 32, 8).eval(), torch.randn(3, 3, 32, 32)
    torch.jit.save(torch.jit.trace(encoder, x), tmp_path / "encoder.pt")
    torch.testing.assert_close(torch.jit.load(tmp_path / "encoder.pt")(x), encoder(x))
    weights = dict(encoder.named_parameters())

    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(encoder, weights, (x.unsqueeze(0),)).squeeze(0)

    torch.testing.assert_close(torch.func.vmap(features)(x), encoder(x), rtol=1e-4, atol=1e-5)
    assert torch.func.jacrev(features)(x[0]).shape == (64, 3, 32, 32)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_weights_are_channels_last(name: str) -> None:
    kernels = [p for p in build_encoder(name, 3, 32).parameters() if p.dim() == 4]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def test_small_learns_in_bfloat16() -> None:
    encoder = build_encoder("small", 3, 32, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = encoder(torch.randn(8, 3, 32, 32))
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(("wrong", "near"), [("resnet8", "resnet18"), ("resnet-50", "resnet50"), ("smal", "small")])
def test_unknown_name_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{near}'"):
        build_encoder(wrong, 3, 32)


@pytest.mark.parametrize("wrong", [(0, 32, 64), (3, 3, 64)])
def test_a_size_too_small_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        build_encoder("small", *wrong)
