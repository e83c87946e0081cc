"""The colors of a view generator: undone exactly, of constant volume, kept in a file that is checked."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from cl_as_gnn.datasets import ImageData, Split
from cl_as_gnn.datasets.images import Rows
from cl_as_gnn.datasets.view_generator import ViewGenerator, colored, generated, load_generator
from cl_as_gnn.errors import ConfigError


def learned(space="rgb", hidden=5, dtype=torch.float64):
    """A generator whose couplings do something."""
    torch.manual_seed(0)
    generator = ViewGenerator(space, hidden).to(dtype)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter)
    return generator


@pytest.mark.parametrize("space", ["rgb", "ydbdr"])
def test_the_inverse_is_exact_and_the_volume_constant(space):
    generator = learned(space)
    x = torch.rand(4, 3, 5, 6, dtype=torch.double)
    y = generator(x)
    assert (y - x).abs().max() > 0.5
    torch.testing.assert_close(generator.inverse(y), x, atol=1e-13, rtol=0)
    pixel = x[0, :, 0, 0].view(1, 3, 1, 1)
    jacobian = torch.autograd.functional.jacobian(generator, pixel).view(3, 3)
    assert (jacobian - generator.matrix).abs().max() > 0.1
    volume = torch.linalg.slogdet(generator.matrix.double()).logabsdet
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, volume, atol=1e-12, rtol=0)


def test_a_pixel_is_colored_by_its_own_colors_alone():
    generator = learned()
    x = torch.rand(2, 3, 4, 4, dtype=torch.double)
    other = x.clone()
    other[1, :, 2, 3] += 0.3
    changed = (generator(other) != generator(x)).any(1).nonzero()
    assert changed.tolist() == [[1, 2, 3]]
    torch.testing.assert_close(generator(x)[:, :, 2:, 1:], generator(x[:, :, 2:, 1:]), atol=1e-13, rtol=0)


def test_a_new_generator_is_its_color_space():
    x = torch.tensor([[1.0, 1, 1], [0, 0, 1], [1, 0, 0]]).view(3, 3, 1, 1)  # white, blue, red
    assert torch.equal(ViewGenerator("rgb")(x), x)
    expected = torch.tensor([[1.0, 0, 0], [0.114, 1.333, 0.217], [0.299, -0.45, -1.333]])
    torch.testing.assert_close(ViewGenerator("ydbdr")(x).view(3, 3), expected, atol=1e-6, rtol=0)
    images = torch.randint(256, (3, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(load_generator("rgb").images(images), images)
    with pytest.raises(ConfigError, match="space=lab: there are rgb and ydbdr"):
        ViewGenerator("lab")


def test_bytes_hold_all_but_the_outermost_values():
    generator, x = learned(dtype=torch.float32), torch.rand(64, 3, 8, 8)
    generator.fit_range(x)
    images = (x * 255).round().byte()
    levels = generator.images(images).float()
    y = generator(images / 255)
    back = levels / 255 * (generator.high - generator.low) + generator.low
    step = (generator.high - generator.low) / 255
    assert ((back - y).abs() <= 0.51 * step).float().mean() > 0.99
    assert all(levels[:, c].max() == 255 and levels[:, c].min() == 0 for c in range(3))
    assert generator.images(images[:0]).shape == (0, 3, 8, 8)


def test_a_file_gives_the_same_generator_back(tmp_path):
    generator = learned("ydbdr", 3, torch.float32)
    generator.fit_range(torch.rand(4, 3, 8, 8))
    path = tmp_path / "g.safetensors"
    generator.save(path, {"mode": "semi"})
    images = torch.randint(256, (70, 3, 4, 4), dtype=torch.uint8)
    again = load_generator(str(path))
    assert torch.equal(again.images(images), generator.images(images))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    split = Split(images, torch.zeros(70).long())
    assert torch.equal(torch.cat(list(colored(split, 4, str(path)))), generator.images(images))
    assert torch.equal(torch.cat(list(colored(split, 4, None))), images)


def damaged(path, how):
    learned(dtype=torch.float32).save(path, {})
    state, meta = load_file(path), {"space": "rgb", "hidden": 5}
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif how == "no header":
        save_file(state, path)
    elif how == "another shape":
        save_file(state, path, metadata={"cl_as_gnn_views": json.dumps(meta | {"hidden": 4})})
    elif how == "another space":
        save_file(state, path, metadata={"cl_as_gnn_views": json.dumps(meta | {"space": "lab"})})
    else:
        state["couplings.0.out.bias"] += torch.nan
        save_file(state, path, metadata={"cl_as_gnn_views": json.dumps(meta)})


@pytest.mark.parametrize("how", ["cut", "no header", "another shape", "another space", "nan"])
def test_a_damaged_file_is_one_line(tmp_path, how):
    path = tmp_path / "g.safetensors"
    damaged(path, how)
    with pytest.raises(
        ConfigError, match=r"^data.generator=\S+ cannot be read \(\w+\): it is no file of clgnn views"
    ) as e:
        load_generator(str(path))
    assert "\n" not in str(e.value)


def test_what_cannot_be_colored_is_refused():
    split = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long())
    gray = ImageData("digits", (), split, split, split)
    with pytest.raises(ConfigError, match=r"data.generator=ydbdr changes colors, and digits has 1 channel: drop it"):
        generated(gray, load_generator("ydbdr"), "ydbdr")

    class Store:
        shape = (4, 3, 8, 8)

    far = replace(split, images=Rows(Store(), torch.arange(4)))
    with pytest.raises(ConfigError, match=r"are read by the batch: raise data.memory"):
        generated(ImageData("folder", (), far, far, far), load_generator("ydbdr"), "ydbdr")
    with pytest.raises(ConfigError, match=r"there is no such file, write it with clgnn views --out g.safetensors"):
        load_generator("g.safetensors")
