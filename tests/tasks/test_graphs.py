"""Real runs on many graphs, small enough for seconds."""

import pytest
import torch
from rich.console import Console

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS, Batch
from cl_as_gnn.runs.load import evaluate_run, export_features
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import train
from cl_as_gnn.training.module import ContrastiveModule

READS_LABELS = {"oracle", "supcon"}
GRAPHS = sorted(n for n, method in METHODS.items() if "graphs" in method.reads and n not in READS_LABELS)
SMALL = ["encoder.width=16", "encoder.projector_hidden=16", "encoder.projector_dim=8", "trainer.epochs=3"]
QUICK = [*SMALL, "eval.baselines=false", "eval.draws=2", "eval.online_every=2"]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_method_learns_from_whole_graphs(tmp_path, tu, name):
    settings = ["data.name=tu", f"data.root={tu}", *QUICK, "encoder.num_layers=2", "trainer.batch_size=16"]
    task = load_task(load_config(None, [*settings, f"method.name={name}"]))
    torch.manual_seed(0)
    module = ContrastiveModule(task.config, task)
    views = task.config.method.num_views
    sample = torch.tensor([3, 8, 1, 30, 22])
    drawn = module.augment(sample, views)
    loss, graph = module.method(Batch(drawn, sample, 0.9, None))
    loss.backward()
    assert graph["view"].x.size(0) == views * 5
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.method.encoder.parameters())


def test_a_run_on_whole_graphs(tmp_path, tu):
    settings = ["data.name=tu", f"data.root={tu}", *SMALL, "trainer.epochs=10", "trainer.batch_size=16"]
    metrics = train(load_config(None, [*settings, f"run_dir={tmp_path}/run"]))
    assert metrics["dataset"] == "MUTAG"
    assert metrics["label1_top1"] is metrics["label10_top1"] is None
    assert metrics["linear_top1"] >= 80, "rings and stars"
    assert set(metrics["baselines"]) == {"untrained encoder", "sum of inputs"}
    assert metrics["baselines"]["sum of inputs"]["linear_top1"] < metrics["linear_top1"]
    again = evaluate_run(tmp_path / "run", Console(quiet=True))
    assert again["linear_top1"] == metrics["linear_top1"]
    assert export_features(tmp_path / "run", tmp_path / "f.npz", Console(quiet=True))["graphs"][0] == 40
    with pytest.raises(ConfigError, match="scored by cross-validation"):
        train(load_config(None, [*settings, f"run_dir={tmp_path}/no", "eval.split=validation"]))
