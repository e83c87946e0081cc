from urllib.error import URLError

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

from cl_as_gnn.config import load_config
from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.encoders.batch_norm import BatchNorm2d, _GlobalBatchNorm
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import build_method
from cl_as_gnn.training.optim import build_optimizer


def build(name, channels=3, side=64, **settings):
    torch.manual_seed(0)
    return build_encoder(ENCODERS[name].Config(name=name, **settings), Inputs(channels, side))


@pytest.mark.parametrize(
    ("name", "channels", "side", "out_dim"),
    [
        ("timm/test_vit", 3, 64, 64),
        ("timm/test_vit", 1, 32, 64),
        ("timm/test_resnet", 1, 32, 96),
        ("timm/convnext_atto", 3, 64, 320),
        ("timm/mobilenetv3_small_050", 1, 64, 1024),
        ("torchvision/mobilenet_v3_small", 1, 64, 576),
        ("torchvision/squeezenet1_1", 3, 64, 512),
        ("torchvision/shufflenet_v2_x0_5", 3, 32, 1024),
    ],
)
def test_out_dim_and_channels(name, channels, side, out_dim):
    encoder = build(name, channels, side)
    y = encoder(torch.randn(3, channels, side, side))
    assert y.shape == (3, encoder.out_dim) == (3, out_dim)
    y.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_torchvision_keeps_the_normalization_of_convnext():
    body = build("torchvision/convnext_tiny").network
    assert isinstance(body.classifier[0], nn.LayerNorm)
    assert isinstance(body.classifier[2], nn.Identity)


@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 96)])
def test_torchvisions_resnet18_is_resnet18(channels, side):
    one, two = (build(name, channels, side).state_dict() for name in ("resnet18", "torchvision/resnet18"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("side", [64, 96])
def test_timms_resnet_has_the_small_stem(side):
    body = build("timm/resnet10t", side=side).network  # its own stem is three convolutions
    assert isinstance(body.conv1, nn.Conv2d) == (side <= 64)
    assert isinstance(body.maxpool, nn.Identity) == (side <= 64)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("timm/resnet1", {}, "unknown encoder.name=timm/resnet1: did you mean timm/resnet18"),
        ("timm/test_vit.no", {}, "unknown encoder.name=timm/test_vit.no: did you mean timm/test_vit.r160_in1k"),
        ("timm/qqqqqqq", {}, r"timm.list_models\(\) names those"),
        ("torchvision/mobilenet", {}, "did you mean torchvision/mobilenet_v2"),
        ("timm/test_vit", {"side": 8}, "timm/test_vit cannot .* images of 3 × 8 × 8"),
        ("torchvision/maxvit_t", {"side": 64}, "cannot be made for images of 64 px"),
        ("timm/vgg11", {"drop_path": 0.1}, "timm/vgg11 has no stochastic depth"),
        ("timm/dla46_c", {"checkpointing": True}, "timm/dla46_c has no gradient checkpointing"),
        ("torchvision/resnet18", {"checkpointing": True}, "has no gradient checkpointing"),
        ("torchvision/resnet18", {"drop_path": 0.1}, "has no stochastic depth"),
        ("timm/test_resnet", {"freeze": 5}, "has 5 parts, freeze at most 4"),
        ("no_such_package:Net", {}, "No module named 'no_such_package'"),
        ("torch.nn:Nothing", {}, "no attribute 'Nothing'"),
        ("torch.nn:Identity", {"drop_path": 0.1}, "encoder.drop_path=0.1 is for models of timm and torchvision"),
        ("torch.nn:Softmax2d", {"layer_decay": 0.5}, "the order of the layers of torch.nn:Softmax2d is not known"),
        ("fractions:Fraction", {}, "makes a Fraction, not an nn.Module"),
    ],
)
def test_what_does_not_fit_is_one_line(name, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(name, **settings)
    assert "\n" not in str(error.value)


def test_families_are_looked_up_by_their_form():
    assert ENCODERS["timm/a"] is ENCODERS["timm/<model>"] is not ENCODERS["torchvision/a"]
    assert ENCODERS["a.b:C"] is ENCODERS["<module>:<class>"]
    assert "timm/" not in ENCODERS
    assert "tim/a" not in ENCODERS
    assert load_config(None, ["encoder.name=timm/a", "encoder.drop_path=0.1"]).encoder.drop_path == 0.1


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_efficientnet", "torchvision/mobilenet_v3_small"])
def test_every_batch_normalization_sees_all_ranks_and_keeps_its_numbers(name):
    ours = build(name)
    layers = [m for m in ours.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert layers
    assert all(isinstance(layer, _GlobalBatchNorm) for layer in layers)
    if name != "timm/test_efficientnet":
        return
    theirs = timm.create_model("test_efficientnet", num_classes=0)
    theirs.load_state_dict(ours.network.state_dict())
    x = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.network.bn1.running_var, theirs.bn1.running_var)


def test_drop_path_and_checkpointing_reach_the_model():
    assert build("timm/test_vit", drop_path=0.5).network.blocks[-1].drop_path1.drop_prob == 0.5
    convnext = build("torchvision/convnext_tiny", drop_path=0.3)
    rates = [m.p for m in convnext.modules() if isinstance(m, StochasticDepth)]
    assert rates[0] == 0
    assert rates[-1] == 0.3
    plain, saving = build("timm/test_vit"), build("timm/test_vit", checkpointing=True)
    assert saving.network.grad_checkpointing
    x, grads = torch.randn(2, 3, 64, 64), []
    for encoder in (plain, saving):
        encoder(x).square().sum().backward()
        grads.append([p.grad for p in encoder.parameters()])
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("name", ["timm/test_resnet", "resnet18", "small"])
def test_frozen_parts_stay_as_they_are(name):
    encoder = build(name, side=16, freeze=2)
    names = {name.split(".")[1] for name, p in encoder.named_parameters() if not p.requires_grad}
    assert names == ({"0", "1"} if name == "small" else {"conv1", "bn1", "layer1"})
    encoder.train()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder(torch.randn(4, 3, 16, 16))
    changed = {k.split(".")[1] for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == ({"2", "4"} if name == "small" else {"layer2", "layer3", "layer4"})


def test_the_statistics_of_a_momentum_copy_move():
    copied = MomentumCopy(build("timm/test_resnet")).train()  # its weights are buffers, and its statistics move
    assert all(m.training for m in copied.modules() if isinstance(m, BatchNorm2d))


def test_rates_fall_from_layer_to_layer():
    config = load_config(None, ["encoder.name=timm/test_vit", "encoder.layer_decay=0.5", "method.name=simclr"])
    method = build_method(config.method, build_encoder(config.encoder, Inputs(1, 32)), config.encoder, 10)
    names = {id(p): name for name, p in method.named_parameters()}
    groups = build_optimizer(config.optim, method).param_groups
    rates = {names[id(p)]: group["lr"] / config.optim.lr for group in groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    blocks = len(method.encoder.network.blocks)
    assert rates["projector.0.weight"] == rates["encoder.body.norm.weight"] == 1
    assert rates[f"encoder.body.blocks.{blocks - 1}.attn.qkv.weight"] == 1  # timm counts the last norm to it
    assert rates["encoder.body.patch_embed.proj.weight"] == rates["encoder.body.cls_token"] == 0.5**blocks
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays["encoder.body.blocks.0.attn.qkv.weight"] > 0
    assert decays["encoder.body.cls_token"] == decays["encoder.body.pos_embed"] == 0


def test_own_sizes_and_statistics():
    kinds = {"timm/test_vit": (160, 0.5), "torchvision/inception_v3": (299, 0.485), "torch.nn:Identity": (None, None)}
    for name, (side, mean) in kinds.items():
        kind = ENCODERS[name]
        assert kind.own_size(kind.Config(name=name)) == side
        assert kind.own_stats(kind.Config(name=name)) is None  # random weights take those of the data
        stats = kind.own_stats(kind.Config(name=name, weights="pretrained"))
        assert (stats and stats[0][0]) == mean
    assert ENCODERS["small"].own_size(ENCODERS["small"].Config()) is None
    ours = ENCODERS["resnet18"]
    assert ours.own_stats(ours.Config(weights="pretrained"))[0][0] == 0.485
    assert ours.own_stats(ours.Config(weights="runs/mine/encoder.safetensors")) is None


NETS = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


def grey(in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 5, 3), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(2))


class Sum(Plain):
    def forward(self, x):
        return super().forward(x).sum(0, keepdim=True)
"""


def test_a_module_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    assert build("my_nets:Plain").out_dim == 7
    encoder = build("my_nets:grey", channels=1)
    assert encoder.out_dim == 20
    assert isinstance(encoder.network[1], BatchNorm2d)
    with pytest.raises(ConfigError, match="my_nets:Plain cannot read images of 1 × 64 × 64"):
        build("my_nets:Plain", channels=1)
    with pytest.raises(ConfigError, match="maps n images to n features"):
        build("my_nets:Sum")


def started(name, weights, side=64, **settings):
    encoder = build(name, side=side, weights=str(weights), **settings)
    return encoder, encoder.start(ENCODERS[name].Config(name=name, weights=str(weights)))


def test_weights_of_a_file(tmp_path):
    torch.manual_seed(5)
    source = timm.create_model("test_vit", img_size=96)
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    encoder, lines = started("timm/test_vit", tmp_path / "vit.safetensors", 96)
    assert torch.equal(encoder.network.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    assert len(lines) == 1
    assert lines[0].endswith("tensors loaded; left out of the file: head.bias, head.weight")
    other, lines = started("timm/test_vit", tmp_path / "vit.safetensors", 64)  # positions of another size
    assert "pos_embed" not in lines[0]
    assert other.network.pos_embed.shape != source.pos_embed.shape
    torch.save(
        {"state_dict": {f"module.encoder_q.{k}": v for k, v in encoder.network.state_dict().items()}, "epoch": 3},
        tmp_path / "moco.pth",
    )
    again, lines = started("timm/test_vit", tmp_path / "moco.pth", 96)
    assert lines == []
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), encoder.parameters(), strict=True))


def test_another_stem_is_left_out_and_told(tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet.pth")
    _, lines = started("torchvision/resnet18", tmp_path / "resnet.pth")
    assert "random in the encoder: conv1.weight; left out of the file: conv1.weight, fc.weight, fc.bias" in lines[0]


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_weights_of_another_run(tmp_path, name):
    source = build(name, side=32)
    torch.save(source.eval().state_dict(), tmp_path / "encoder.pth")
    torch.manual_seed(8)
    config = ENCODERS[name].Config(name=name, weights=str(tmp_path / "encoder.pth"), layer_decay=0.5)
    encoder = build_encoder(config, Inputs(3, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(encoder(x), source(x))
    assert encoder.start(config) == []
    assert torch.equal(encoder(x), source(x))
    rates = encoder.rate_factors()
    assert rates.keys() == dict(encoder.named_parameters()).keys()
    assert list(rates.values()) == sorted(rates.values())
    assert min(rates.values()) == 0.5 ** (len(set(rates.values())) - 1) < max(rates.values()) == 1
    gray = build_encoder(config, Inputs(1, 32))
    (line,) = gray.start(config)
    first = "0.0.weight" if name == "small" else "conv1.weight"
    assert line.endswith(f"tensors loaded; random in the encoder: {first}; left out of the file: {first}")


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    torch.save(build("small", width=16).state_dict(), tmp_path / "small.pth")
    message = r"it holds 0.0.weight \(8 × 3 × 4 × 4\), .*expects 0.0.weight \(16 × 3 × 4 × 4\), .* of the same model"
    with pytest.raises(ConfigError, match=message):
        started("small", tmp_path / "small.pth")
    for setting in ({"drop_path": 0.1}, {"checkpointing": True}, {"freeze": 4}):
        with pytest.raises(ConfigError, match=f"encoder.{next(iter(setting))}="):
            build("small", **setting)

    class Code:
        def __reduce__(self):
            return print, ("code ran",)

    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save(Code(), tmp_path / "code.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    for name, message in (
        ("none.pth", "there is no such file"),
        ("other.pth", "fits nothing in the encoder"),
        ("code.pth", "cannot be read"),
        ("empty.pth", "holds no weights"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            started("timm/test_vit", tmp_path / name)
        assert "\n" not in str(error.value)


def test_published_weights_come_through_timm(monkeypatch):
    torch.manual_seed(6)
    source, create = timm.create_model("test_vit"), timm.create_model
    calls = []

    def cached(name, pretrained=False, **more):
        calls.append(pretrained)
        overlay = {"state_dict": source.state_dict()}
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay if pretrained else None, **more)

    monkeypatch.setattr(timm, "create_model", cached)
    encoder, lines = started("timm/test_vit", "pretrained", 160)
    assert calls == [False, True]
    assert lines == []
    assert torch.equal(encoder.network.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    with pytest.raises(ConfigError, match="Softmax2d has no published weights"):
        started("torch.nn:Softmax2d", "pretrained")


@pytest.mark.parametrize("name", ["timm/test_vit", "torchvision/resnet18"])
def test_published_weights_without_a_cache_are_one_line(name, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(ConfigError, match="neither in the cache nor can be fetched") as error:
        started(name, "pretrained")
    assert "\n" not in str(error.value)


def no_network(*args, **kwargs):
    raise URLError("no network")
