import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torchvision import models

from cl_as_gnn.config import load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.runs.export import export_encoder
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.load import load_encoder


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished run with an encoder that nothing has trained."""

    def make(name, channels=3, side=64):
        config = load_config(None, [f"encoder.name={name}", f"run_dir={tmp_path}/run"])
        run = RunFolder(tmp_path / "run")
        run.path.mkdir()
        run.save_config(config)
        encoder = build_encoder(config.encoder, Inputs(channels, side))
        encoder(torch.randn(8, channels, side, side))  # the statistics move
        encoder.eval()
        stats = {"mean": [0.4] * channels, "std": [0.2] * channels}
        meta = {"encoder": config.encoder.model_dump(mode="json"), "channels": channels, "image_size": side, **stats}
        run.save_encoder(encoder, meta)
        return run.path, encoder

    return make


@pytest.mark.parametrize(("name", "more"), [("test_vit", ", img_size=64"), ("convnext_atto", ", in_chans=1")])
def test_timm_reads_the_weights_as_the_line_says(finished, tmp_path, name, more):
    channels = 1 if "in_chans" in more else 3
    run, encoder = finished(f"timm/{name}", channels)
    line = export_encoder(run, tmp_path / "out.safetensors")
    assert line == f'timm.create_model("{name}", num_classes=0{more}, checkpoint_path="{tmp_path / "out.safetensors"}")'
    model = eval(line, {"timm": timm}).eval()
    x = torch.randn(3, channels, 64, 64)
    torch.testing.assert_close(model(x), encoder(x))


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "resnet18"])
def test_torchvision_reads_the_weights(finished, tmp_path, name):
    run, encoder = finished(name, side=96)
    export_encoder(run, tmp_path / "weights", "safetensors")
    model = models.get_model(name.rpartition("/")[2])
    setattr(model, "fc" if name == "resnet18" else "classifier", torch.nn.Identity())
    model.load_state_dict(load_file(tmp_path / "weights"))
    x = torch.randn(3, 3, 96, 96)
    torch.testing.assert_close(model.eval()(x), encoder(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["timm/test_vit", "small"])
def test_a_program_normalizes_any_number_of_images(finished, tmp_path, name):
    run, _ = finished(name)
    export_encoder(run, tmp_path / "out.pt2")
    x = torch.rand(5, 3, 64, 64)
    out = torch.export.load(tmp_path / "out.pt2").module()(x)
    torch.testing.assert_close(out, load_encoder(RunFolder(run))((x - 0.4) / 0.2), rtol=1e-4, atol=1e-4)


def test_onnx(finished, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run, encoder = finished("timm/test_vit")
    export_encoder(run, tmp_path / "out.onnx")
    x = torch.rand(5, 3, 64, 64)
    (out,) = runtime.InferenceSession(tmp_path / "out.onnx").run(["features"], {"images": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), encoder((x - 0.4) / 0.2), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_written_is_one_line(finished, tmp_path, monkeypatch, clgnn):
    run, _ = finished("small")
    with pytest.raises(ConfigError, match=r"out\.foo: name a file that ends in \.safetensors, \.onnx, \.pt2"):
        export_encoder(run, tmp_path / "out.foo")
    with pytest.raises(ConfigError, match="there is no folder"):
        export_encoder(run, tmp_path / "none" / "out.pt2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, error = clgnn("export", run, "--out", "out.onnx")
    assert (code, error) == (2, "error: ONNX expects onnx and onnxscript: pip install 'cl-as-gnn[onnx]'\n")
    assert not Path("out.onnx").exists()
