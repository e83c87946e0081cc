import timm
import torch
from rich.console import Console

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import ImageData, Split
from cl_as_gnn.encoders import backbone
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import evaluate_run, load_encoder
from cl_as_gnn.tasks import ImageTask, load_task
from cl_as_gnn.training.fit import train


def test_a_backbone_starts_from_weights_once_and_resumes_to_the_same_numbers(tmp_path, resumes_alike, monkeypatch):
    torch.manual_seed(7)
    torch.save(timm.create_model("test_efficientnet", in_chans=1).state_dict(), tmp_path / "start.pth")
    read, reads = backbone.read_weights, []
    monkeypatch.setattr(backbone, "read_weights", lambda path: reads.append(path) or read(path))
    settings = [
        *("encoder.name=timm/test_efficientnet", f"encoder.weights={tmp_path / 'start.pth'}", "encoder.freeze=1"),
        *("encoder.layer_decay=0.8", "encoder.drop_path=0.1", "data.validation=0.85", "eval.split=validation"),
        *(
            "trainer.epochs=3",
            "trainer.batch_size=64",
            "eval.baselines=false",
            "eval.draws=2",
            "optim.lr=1e-3",
            "method.name=moco",
            "trainer.precision=fp32",
        ),
    ]
    whole, resumed = resumes_alike(tmp_path, lambda path: load_config(None, [*settings, f"run_dir={path}"]))
    assert whole["knn_top1"] == resumed["knn_top1"]
    assert len(reads) == 2  # not by the run that goes on
    (tmp_path / "start.pth").rename(tmp_path / "elsewhere.pth")
    assert evaluate_run(tmp_path / "whole", Console(quiet=True))["knn_top1"] == whole["knn_top1"]
    start, end = torch.load(tmp_path / "elsewhere.pth"), load_encoder(open_run(tmp_path / "whole")).network.state_dict()
    assert torch.equal(start["conv_stem.weight"], end["conv_stem.weight"])
    assert not torch.equal(start["conv_head.weight"], end["conv_head.weight"])


def test_a_run_starts_from_the_encoder_of_another_run(tmp_path, configure, weights):
    few = ("data.validation=0.6", "eval.split=validation", "trainer.epochs=1")
    train(configure(tmp_path / "first", *few))
    file = tmp_path / "first" / "encoder.safetensors"
    config = configure(tmp_path / "second", *few, "seed=1", f"encoder.weights={file}", "encoder.freeze=1")
    task, before = load_task(config, progress=False), load_encoder(open_run(tmp_path / "first"))
    encoder = task.encoder()
    assert encoder.start(config.encoder) == []
    at, device = task.features(encoder.eval(), torch.device("cpu")), torch.device("cpu")
    assert torch.equal(at["train"], task.features(before, device)["train"])
    train(config)
    start, end = weights(tmp_path / "first"), weights(tmp_path / "second")
    still = {name for name in start if name.startswith("method.encoder.") and torch.equal(start[name], end[name])}
    assert {name.split(".")[3] for name in still} == {"0"}


def test_weights_bring_their_mean_and_deviation():
    for channels, weights, mean in ((3, "pretrained", 0.5), (1, "pretrained", 0.25), (3, "null", 0.25)):
        part = Split(torch.full((4, channels, 8, 8), 64, dtype=torch.uint8), torch.arange(4) % 2)
        config = load_config(None, ["encoder.name=timm/test_vit", f"encoder.weights={weights}"])
        stats = ImageTask(config, ImageData("grey", ("a", "b"), part, part, part)).stats
        assert abs(stats[0][0] - mean) < 0.01
