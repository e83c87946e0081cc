"""Real runs on nodes, small enough for seconds."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import validated_probe
from cl_as_gnn.methods import METHODS, Batch
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import evaluate_run, export_features, load_encoder
from cl_as_gnn.tasks import load_task, propagated
from cl_as_gnn.training.fit import train
from cl_as_gnn.training.module import ContrastiveModule

NODES = sorted(name for name, method in METHODS.items() if "nodes" in method.reads)
SMALL = ["encoder.width=16", "encoder.projector_hidden=16", "encoder.projector_dim=8", "trainer.epochs=3"]
QUICK = [*SMALL, "eval.baselines=false", "eval.draws=2", "eval.online_every=2"]
HEADLINE = ("knn_top1", "linear_top1", "label1_top1", "label10_top1")


def karate(path, *settings):
    return load_config(None, ["data.name=karate", *QUICK, f"run_dir={path}", *settings])


def numbers(metrics):
    return {key: value for key, value in metrics.items() if key not in ("seconds", "images_per_second")}


def test_a_run_on_nodes_has_the_folder_and_the_keys_of_every_run(tmp_path, planetoid):
    path = tmp_path / "run"
    config = load_config(None, ["data.name=cora", f"data.root={planetoid}", *SMALL, "eval.draws=2", f"run_dir={path}"])
    metrics = train(config)
    run = open_run(path)
    assert json.loads(run.metrics.read_text()) == metrics
    assert (metrics["dataset"], metrics["method"]) == ("cora", config.method.name)
    assert all(0 <= metrics[key] <= 100 for key in HEADLINE)
    assert metrics["linear_top1"] > 60, "three communities with features of their own"
    assert set(metrics["baselines"]) == {"untrained encoder", "AᵏX, no training", "X, no graph"}
    assert 0 <= metrics["baselines"]["AᵏX, no training"]["k"] <= 8
    assert "30 training, 500 validation, 100 test nodes" in metrics["protocol"]
    assert {"alignment", "uniformity", "i_nce", "effective_rank", "edge_purity"} <= set(metrics)
    assert [row["epoch"] for row in run.read_history()] == ["1", "2", "3"]
    assert float(run.read_history()[-1]["online_knn"]) > 34
    again = evaluate_run(path, Console(quiet=True))
    assert {key: again[key] for key in HEADLINE} == {key: metrics[key] for key in HEADLINE}
    assert again["baselines"] == metrics["baselines"]
    shapes = export_features(path, tmp_path / "f.npz", Console(quiet=True))
    assert shapes["nodes"][0] == 700
    with pytest.raises(ConfigError, match="reads graphs: leave --images out"):
        export_features(path, tmp_path / "g.npz", Console(quiet=True), images=tmp_path)
    with np.load(tmp_path / "f.npz") as arrays:
        assert [len(arrays[name]) for name in ("train", "validation", "test_labels")] == [30, 500, 100]
        x = torch.from_numpy(arrays["nodes"])
    task = load_task(config)
    torch.testing.assert_close(task.features(load_encoder(run), torch.device("cpu"))["nodes"], x)
    found = validated_probe(x, task.y, task.data.train, task.data.validation, task.data.test)
    assert found.test == metrics["linear_top1"]


def test_validation_is_scored_without_a_look_at_test_nodes(tmp_path, planetoid):
    settings = ["data.name=cora", f"data.root={planetoid}", *QUICK, "eval.split=validation"]
    metrics = train(load_config(None, [*settings, f"run_dir={tmp_path}/run"]))
    assert metrics["linear_top1"] == metrics["validation_top1"]
    assert "scored on the validation nodes" in metrics["protocol"]
    with pytest.raises(ConfigError, match="karate has no validation nodes"):
        train(karate(tmp_path / "none", "eval.split=validation"))


@pytest.mark.parametrize("name", NODES)
def test_every_method_learns_from_nodes_and_resumes_to_the_same_numbers(tmp_path, resumes_alike, name):
    whole, resumed = resumes_alike(tmp_path, lambda path: karate(path, f"method.name={name}"))
    assert np.isfinite(whole["loss"])
    assert numbers(resumed) == numbers(whole)


@pytest.mark.parametrize("encoder", ["gat", "sage", "gin"])
def test_every_gnn_trains(tmp_path, encoder):
    settings = (f"encoder.conv={encoder}", "encoder.norm=batch", "trainer.epochs=20", "optim.lr=0.01")
    first, again = (train(karate(tmp_path / name, *settings)) for name in "ab")
    other = train(karate(tmp_path / "c", *settings, "seed=1"))
    assert numbers(first) == numbers(again)
    assert first["loss"] != other["loss"]
    rows = open_run(tmp_path / "a").read_history()
    assert first["loss"] < float(rows[0]["loss"])


def test_labels_that_training_may_not_see_are_not_there(tmp_path, planetoid, tu):
    task = load_task(load_config(None, ["data.name=cora", f"data.root={planetoid}"]))
    assert torch.equal(task.labels >= 0, task.data.train)
    settings = ["data.name=tu", f"data.root={tu}", *QUICK, "method.name=supcon"]
    with pytest.raises(ConfigError, match=r"method\.name=supcon reads labels"):
        train(load_config(None, [*settings, f"run_dir={tmp_path}/x"]))
    assert not (tmp_path / "x").exists(), "refused before training"


@pytest.mark.parametrize("data", ["digits", "tu"])
def test_dgi_says_what_it_learns_from(tmp_path, tu, data):
    root = [f"data.root={tu}"] if data == "tu" else []
    with pytest.raises(ConfigError, match=f"method.name=dgi learns from nodes, and data.name={data} has"):
        train(load_config(None, [f"data.name={data}", *root, "method.name=dgi", f"run_dir={tmp_path}/run"]))


def test_propagation_is_the_power_of_the_normalized_graph():
    graph = load_task(load_config(None, ["data.name=karate"])).graph
    a = torch.eye(34, dtype=torch.double)
    a[graph.edge_index[1], graph.edge_index[0]] += 1
    scale = a.sum(1).rsqrt()
    walk = scale[:, None] * a * scale
    x = graph.x.double()
    for power in propagated(graph):
        torch.testing.assert_close(power.double(), x, atol=1e-6, rtol=1e-5)
        x = walk @ x


def test_part_of_the_nodes_a_step(tmp_path):
    """The encoder sees the whole graph, the step contrasts some of its nodes."""
    config = karate(tmp_path / "run", "trainer.batch_size=10", "method.name=simclr")
    task = load_task(config)
    torch.manual_seed(0)
    module = ContrastiveModule(config, task)
    sample = torch.tensor([5, 0, 33])
    drawn = module.augment(sample, 2)
    _, graph = module.method(Batch(drawn, sample, 0.0, None))
    del drawn.chosen
    everything = module.method.normalize(module.method.project(drawn))
    torch.testing.assert_close(graph["view"].x, everything[[5, 0, 33, 39, 34, 67]])
    metrics = train(config)
    assert np.isfinite(metrics["loss"])
