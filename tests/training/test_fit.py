"""Real runs on the digits, small enough for seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.runs.folder import RunFolder, create_run, open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.training import callbacks
from cl_as_gnn.training.fit import continue_run, train

SMALL = [
    "encoder.width=8",
    "encoder.projector_hidden=32",
    "encoder.projector_dim=16",
    "trainer.epochs=3",
    "eval.baselines=false",
    "eval.draws=2",
    "eval.online_size=300",
]
SCORES = (
    *("loss", "knn_top1", "linear_top1", "label1_top1", "label10_top1"),
    *("alignment", "uniformity", "effective_rank", "graph_purity"),
)


def configure(path, *settings):
    return load_config(None, [*SMALL, f"run_dir={path}", *settings])


def scores(metrics):
    return {key: metrics[key] for key in SCORES}


def weights(path):
    return torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_folder_holds_what_is_promised(tmp_path):
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


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(tmp_path):
    first = train(configure(tmp_path / "a"))
    again = train(configure(tmp_path / "b"))
    other = train(configure(tmp_path / "c", "seed=1"))
    assert scores(first) == scores(again)
    assert scores(first) != scores(other)
    one, two = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if "images" in method.reads))
def test_a_stopped_run_resumes_to_the_same_numbers_banks_included(tmp_path, monkeypatch, name):
    settings = [f"method.name={name}", "data.validation=0.6", "eval.split=validation"]
    whole = train(configure(tmp_path / "whole", *settings))
    log = callbacks.EpochLog.on_train_epoch_start

    def stop(self, trainer, module):
        if trainer.current_epoch == 2:
            raise KeyError("the power went")
        log(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochLog, "on_train_epoch_start", stop)
        with pytest.raises(KeyError):
            train(configure(tmp_path / "part", *settings))
    torch.manual_seed(99)
    _, resumed = continue_run(tmp_path / "part", {})
    assert scores(resumed) == scores(whole)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert resumed["epochs"] == 3
    assert len(open_run(tmp_path / "part").read_history()) == 3


def test_measuring_the_graph_changes_nothing(tmp_path):
    measured = train(configure(tmp_path / "a", "eval.graph_every=1"))
    silent = train(configure(tmp_path / "b", "eval.graph_every=0"))
    assert scores(measured) == scores(silent)
    assert {row["graph_mismatch"] for row in open_run(tmp_path / "b").read_history()} == {""}


def test_a_run_killed_between_two_epochs_resumes_to_the_same_numbers(tmp_path):
    words = ["method.name=jk", "trainer.epochs=40", "data.validation=0.6", "eval.split=validation"]
    command = [sys.executable, "-m", "cl_as_gnn.cli", "train", *SMALL, *words]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([*command, f"run_dir={tmp_path}/part"], cwd=tmp_path, env=env)
    history = tmp_path / "part" / "metrics.csv"
    deadline = time.time() + 120
    while time.time() < deadline and not (history.exists() and len(history.read_text().splitlines()) > 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(history.read_text().splitlines()) - 1
    assert 2 <= done < 40, "killed in the middle"
    _, resumed = continue_run(tmp_path / "part", {})
    whole = train(configure(tmp_path / "whole", *words))
    assert scores(resumed) == scores(whole)


def test_resume_refuses_what_contradicts_the_run(tmp_path):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    with pytest.raises(ConfigError, match=r"method.name=simclr contradicts .* trained with gcn"):
        continue_run(tmp_path / "run", {"method": {"name": "simclr"}})
    with pytest.raises(ConfigError, match=r"optim.lr=0.5 contradicts .* trained with 0.004"):
        continue_run(tmp_path / "run", {"optim": {"lr": 0.5}})
    with pytest.raises(ConfigError, match="holds a run already"):
        train(configure(tmp_path / "run"))
    with pytest.raises(ConfigError, match="no run folder"):
        continue_run(tmp_path / "nowhere", {})


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupt(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochLog, "on_train_epoch_start", interrupt)
        with pytest.raises(RunError, match=r"interrupted in epoch 2: continue with clgnn train resume="):
            train(configure(tmp_path / "run"))
    _, metrics = continue_run(tmp_path / "run", {})
    assert metrics["epochs"] == 3


def test_devices_that_are_not_there_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"trainer.batch_size=255 is shared by 2 ranks"):
        train(configure(tmp_path / "run", "trainer.devices=2", "trainer.batch_size=255"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer.accelerator=gpu, but there is no CUDA device"):
        train(configure(tmp_path / "run", "trainer.accelerator=gpu"))


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    train(configure(tmp_path / "a", "trainer.epochs=1"))
    train(configure(tmp_path / "b", "trainer.epochs=1", "method.name=simclr"))
    (tmp_path / "a" / "checkpoints" / "last.ckpt").rename(tmp_path / "b" / "checkpoints" / "last.ckpt")
    (tmp_path / "b" / "metrics.json").unlink()
    with pytest.raises(ConfigError, match="holds a run of method 'gcn', not of 'simclr'"):
        continue_run(tmp_path / "b", {})


def test_a_broken_checkpoint_is_one_line(tmp_path):
    train(configure(tmp_path / "a", "trainer.epochs=1"))
    path = tmp_path / "a" / "checkpoints" / "last.ckpt"
    path.write_bytes(b"torn")
    (tmp_path / "a" / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"last\.ckpt cannot be read"):
        continue_run(tmp_path / "a", {})
    torch.save({"state_dict": {}}, path)
    with pytest.raises(RunError, match="no checkpoint of this package"):
        continue_run(tmp_path / "a", {})


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run, config = tmp_path / "run", configure(tmp_path / "run", "trainer.epochs=1")
    metrics = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert continue_run(run, {})[1] == metrics
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (run / "metrics.json").write_text("{torn")
    with pytest.raises(RunError, match=r"metrics\.json is no JSON any more"):
        continue_run(run, {})


def test_a_folder_is_never_written_over(tmp_path):
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"metrics\.csv is there already"):
        train(configure(tmp_path))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 0")
    with pytest.raises(ConfigError, match=r"not ended its first epoch.*remove the folder"):
        train(configure(tmp_path / "begun"))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["metrics.csv", "config.yaml"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cl_as_gnn.runs.folder.time.strftime", lambda _: "now")
    names = []
    for process in (7, 8):
        monkeypatch.setattr("cl_as_gnn.runs.folder.os.getpid", lambda process=process: process)
        names.append(create_run(load_config()).path.name)
    assert names == ["digits-gcn-seed0-now-7", "digits-gcn-seed0-now-8"]


def test_a_broken_encoder_is_one_line(tmp_path):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    (tmp_path / "run" / "encoder.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"encoder\.safetensors cannot be read"):
        load_encoder(RunFolder(tmp_path / "run"))


def test_an_encoder_of_another_method_is_not_scored(tmp_path):
    for name in ("gcn", "simclr"):
        train(configure(tmp_path / name, f"method={{name: {name}}}", "trainer.epochs=1"))
    (tmp_path / "simclr" / "encoder.safetensors").replace(tmp_path / "gcn" / "encoder.safetensors")
    with pytest.raises(RunError, match=r"was trained by method.name=simclr, and .*config.yaml says gcn"):
        load_encoder(RunFolder(tmp_path / "gcn"))


def test_neighbours_that_are_not_finite_are_divergence(tmp_path):
    with pytest.raises(RunError, match=r"lower optim\.lr"):
        train(configure(tmp_path / "run", "optim.lr=1e6", "optim.warmup=0", "method.start=0", "method.gate=0"))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    from lightning.pytorch import Trainer

    save = Trainer.save_checkpoint

    def full(self, path, *args, **kwargs):
        if self.current_epoch == 2:
            Path(path).write_bytes(b"half of a")
            raise OSError(28, "No space left on device")
        save(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save_checkpoint", full)
        with pytest.raises(RunError, match=r"No space left.*resume="):
            train(configure(tmp_path / "part"))
    assert not list(tmp_path.rglob("*.part"))
    _, resumed = continue_run(tmp_path / "part", {})
    assert scores(resumed) == scores(train(configure(tmp_path / "whole")))


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path):
    with pytest.raises(RunError, match=r"the loss is not finite in epoch 1: lower optim.lr"):
        train(configure(tmp_path / "run", "optim.lr=1e30", "optim.name=sgd", "optim.warmup=0"))
    state = weights(tmp_path / "run") if (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() else {}
    assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())


def test_a_batch_larger_than_the_data_and_a_tiny_one(tmp_path):
    config = ["data.validation=0.85", "eval.split=validation", "trainer.epochs=1"]
    train(configure(tmp_path / "large", "trainer.batch_size=100000", *config))
    metrics = train(configure(tmp_path / "tiny", "trainer.batch_size=2", *config))
    assert metrics["loss"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_every_optimiser_trains(tmp_path, optimizer):
    metrics = train(configure(tmp_path / "run", f"optim.name={optimizer}", "optim.lr=0.3"))
    rows = open_run(tmp_path / "run").read_history()
    assert metrics["loss"] < float(rows[0]["loss"])
