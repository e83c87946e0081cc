import json

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import create_run, open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.training.fit import continue_run, train


def test_a_run_folder_holds_what_is_promised(tmp_path, configure):
    metrics = train(configure(tmp_path / "run", "eval.baselines=true"))
    run = open_run(tmp_path / "run")
    names = {p.name for p in run.path.iterdir()}
    assert {"config.yaml", "metrics.csv", "metrics.json", "checkpoints", "encoder.safetensors"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not list(run.path.rglob("*.part"))
    assert json.loads(run.metrics.read_text()) == metrics
    promised = {"method", "dataset", "seed", "epochs", "seconds", "images_per_second", "versions", "protocol"}
    assert promised <= set(metrics)
    assert set(metrics["baselines"]) == {"untrained encoder", "raw pixels"}
    assert metrics["baselines"]["raw pixels"]["knn_top1"] == pytest.approx(97.8, abs=0.1)
    assert [row["epoch"] for row in run.read_history()] == ["1", "2", "3"]
    assert float(run.read_history()[-1]["loss"]) < float(run.read_history()[0]["loss"])
    assert metrics["knn_top1"] > 70
    assert 0 < metrics["edge_purity"] <= 1
    measured = ["", "2", "3"]
    assert [row["epoch"] if row["graph_rank"] else "" for row in run.read_history()] == measured
    assert 0 < float(run.read_history()[-1]["graph_energy"]) < 2
    assert 0.5 < metrics["graph_purity"] <= 1
    encoder = load_encoder(run)
    assert not encoder.training
    assert encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 64)


def test_a_finished_run_is_left_as_it_is(tmp_path, configure):
    run, config = tmp_path / "run", configure(tmp_path / "run", "trainer.epochs=1")
    metrics = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert continue_run(run, {})[1] == metrics
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (run / "metrics.json").write_text("{torn")
    with pytest.raises(RunError, match=r"metrics\.json is not JSON"):
        continue_run(run, {})


def test_a_folder_is_never_written_over(tmp_path, configure):
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"metrics\.csv exists"):
        train(configure(tmp_path))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 0")
    with pytest.raises(ConfigError, match=r"holds a run without a checkpoint.*remove the folder"):
        train(configure(tmp_path / "begun"))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["metrics.csv", "config.yaml"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cl_as_gnn.runs.folder.time.strftime", lambda _: "now")
    names = []
    for process in (7, 8):
        monkeypatch.setattr("cl_as_gnn.runs.folder.os.getpid", lambda process=process: process)
        with create_run(load_config()) as run:
            names.append(run.path.name)
    assert names == ["digits-gcn-seed0-now-7", "digits-gcn-seed0-now-8"]
