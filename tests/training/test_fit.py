"""Real runs on the digits, small enough for seconds."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.tasks.images import ImageTask
from cl_as_gnn.training.fit import continue_run, train
from cl_as_gnn.training.module import ContrastiveModule

SCORES = (
    *("loss", "knn_top1", "linear_top1", "label1_top1", "label10_top1"),
    *("alignment", "uniformity", "effective_rank", "graph_purity", "graph_agreement", "i_nce", "i_nce_ceiling"),
)


def scores(metrics):
    return {key: metrics[key] for key in SCORES}


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(tmp_path, configure, weights):
    first = train(configure(tmp_path / "a"))
    again = train(configure(tmp_path / "b"))
    other = train(configure(tmp_path / "c", "seed=1"))
    assert scores(first) == scores(again)
    assert scores(first) != scores(other)
    one, two = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(one[key], two[key]) for key in one)


GRAY = sorted(name for name, method in METHODS.items() if "images" in method.reads and not method.needs_split)


@pytest.mark.parametrize("name", GRAY)
def test_a_stopped_run_resumes_to_the_same_numbers_banks_included(tmp_path, configure, resumes_alike, name):
    settings = [f"method.name={name}", "data.validation=0.6", "eval.split=validation"]
    whole, resumed = resumes_alike(tmp_path, lambda path: configure(path, *settings))
    assert scores(resumed) == scores(whole)
    assert whole["collapsed_at"] is None, "an ordinary run"
    assert resumed["epochs"] == 3
    assert len(open_run(tmp_path / "part").read_history()) == 3


def test_measuring_the_graph_changes_nothing(tmp_path, configure):
    measured = train(configure(tmp_path / "a", "eval.graph_every=1"))
    silent = train(configure(tmp_path / "b", "eval.graph_every=0"))
    assert scores(measured) == scores(silent)
    assert {row["graph_mismatch"] for row in open_run(tmp_path / "b").read_history()} == {""}


# Killed in the first epoch, while it writes its second checkpoint.
DIES = """
import os, signal
from pathlib import Path
from cl_as_gnn import cli
from lightning.pytorch import Trainer

save = Trainer.save_checkpoint


def half(self, path):
    if self.global_step == 4:
        Path(path).write_bytes(b"half of a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, path)


Trainer.save_checkpoint = half
cli.main()
"""


def test_a_run_killed_in_its_first_epoch_and_in_a_checkpoint_resumes_to_the_same_numbers(
    tmp_path, small, configure, same_numbers, clgnn
):
    draw = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for i in range(22):
        Image.fromarray(draw.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(tmp_path / f"photographs/{i}.png")
    words = [f"data.root={tmp_path}/photographs", "data.image_size=8", "data.memory=0", "trainer.batch_size=4"]
    words += ["method.name=jk"]
    (tmp_path / "dies.py").write_text(DIES)
    command = [sys.executable, "dies.py", "train", *small, *words, "trainer.checkpoint_every=2", "run_dir=part"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    killed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    files = {path.name for path in (tmp_path / "part" / "checkpoints").iterdir()}
    assert files == {"last.ckpt", "last.part"}, killed.stdout + killed.stderr
    assert not (tmp_path / "part" / "metrics.csv").exists()
    for code, *command in ((2, "evaluate", "part"), (2, "embed", "part", "--out", "f.npz"), (0, "report", "part")):
        found, out, error = clgnn(*command)
        assert (found, error.count("\n")) == (code, code // 2)
        assert "clgnn train resume=part" in (out + error).replace("\n", " ")
    assert clgnn("inspect", "--run", "part", "--samples", 4)[::2] == (0, "")
    train(configure(tmp_path / "whole", *words))
    continue_run(tmp_path / "part", {})
    same_numbers(tmp_path / "whole", tmp_path / "part")
    assert not list(tmp_path.rglob("*.part"))


def test_resume_refuses_what_contradicts_the_run(tmp_path, configure):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    with pytest.raises(ConfigError, match=r"method.name=simclr contradicts .* trained with gcn"):
        continue_run(tmp_path / "run", {"method": {"name": "simclr"}})
    with pytest.raises(ConfigError, match=r"optim.lr=0.5 contradicts .* trained with 0.004"):
        continue_run(tmp_path / "run", {"optim": {"lr": 0.5}})
    with pytest.raises(ConfigError, match=r"eval.split=validation contradicts .* trained with test"):
        continue_run(tmp_path / "run", {"eval": {"split": "validation"}})
    with pytest.raises(ConfigError, match="already holds a run"):
        train(configure(tmp_path / "run"))
    with pytest.raises(ConfigError, match="no run folder"):
        continue_run(tmp_path / "nowhere", {})


def test_a_finished_run_is_extended(tmp_path, configure):
    first = train(configure(tmp_path / "run", "trainer.epochs=1", "eval.baselines=false"))
    run, metrics = continue_run(tmp_path / "run", {"trainer": {"epochs": 3}})
    with pytest.raises(ConfigError, match=r"trainer.epochs=1 is less than the 3 of"):
        continue_run(tmp_path / "run", {"trainer": {"epochs": 1}})
    assert metrics["epochs"] == run.load_config().trainer.epochs == 3
    assert metrics["config_digest"] == run.load_config().digest + "+1", "it is not a run that had 3 epochs at first"
    assert [row["epoch"] for row in run.read_history()] == ["1", "2", "3"]
    assert json.loads((tmp_path / "run" / "metrics-1.json").read_text()) == first, "earlier scores are kept"


def test_other_scores_of_a_finished_run(tmp_path, configure, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ImageTask, "baselines", lambda self, device: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(configure(tmp_path / "run", "eval.baselines=true"))
    kept = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "knn_top1" in kept, "the scores are written before the baselines"
    run, again = continue_run(tmp_path / "run", {})
    assert set(again["baselines"]) == {"untrained encoder", "raw pixels"}
    assert {**again, "baselines": None, "seconds": 0} == {**kept, "baselines": None, "seconds": 0}
    _, other = continue_run(tmp_path / "run", {"eval": {"knn_k": 1, "baselines": False}})
    assert "k=1," in other["protocol"]
    assert "baselines" not in other
    assert run.load_config().eval.knn_k == 1
    assert continue_run(tmp_path / "run", {})[1] == other == run.load_metrics()


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch, configure):
    step = ContrastiveModule.training_step

    def interrupt(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (1, 3):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ContrastiveModule, "training_step", interrupt)
        with pytest.raises(RunError, match=r"interrupted in epoch 2, 1 step after the last checkpoint: continue with "):
            train(configure(tmp_path / "run", "trainer.checkpoint_every=2"))
    _, metrics = continue_run(tmp_path / "run", {})
    assert metrics["epochs"] == 3


def test_devices_that_are_not_there_are_refused(tmp_path, monkeypatch, configure):
    with pytest.raises(ConfigError, match=r"trainer.batch_size=255 is shared by 2 ranks"):
        train(configure(tmp_path / "run", "trainer.devices=2", "trainer.batch_size=255"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer.accelerator=gpu, but there is no CUDA device"):
        train(configure(tmp_path / "run", "trainer.accelerator=gpu"))


def test_neighbours_that_are_not_finite_are_divergence(tmp_path, configure):
    with pytest.raises(RunError, match=r"lower optim\.lr"):
        train(configure(tmp_path / "run", "optim.lr=1e6", "optim.warmup=0", "method.start=0", "method.gate=0"))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, configure):
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


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path, configure, weights):
    with pytest.raises(
        RunError, match=r"the loss of gcn is not finite in epoch 1, step \d: lower optim.lr .*no checkpoint"
    ):
        train(configure(tmp_path / "run", "optim.lr=1e30", "optim.name=sgd", "optim.warmup=0"))
    state = weights(tmp_path / "run") if (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() else {}
    assert all(v.isfinite().all() for v in state.values() if v.is_floating_point())


def test_divergence_names_the_step_the_method_and_the_last_good_checkpoint(tmp_path, configure, monkeypatch):
    step = ContrastiveModule.training_step

    def poisoned(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        if (self.trainer.current_epoch, batch_idx) == (1, 2):
            self._losses[-1] = loss.detach() * torch.nan
            return loss * torch.nan
        return loss

    monkeypatch.setattr(ContrastiveModule, "training_step", poisoned)
    said = r"^the loss of simclr is not finite in epoch 2, step 3: .*; \S+last\.ckpt is from before that$"
    with pytest.raises(RunError, match=said):
        train(configure(tmp_path / "run", "method.name=simclr", "trainer.checkpoint_every=2"))
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 1, "the checkpoint within the epoch, two steps before"
    assert all(v.isfinite().all() for v in state["state_dict"].values() if v.is_floating_point())


def test_a_batch_larger_than_the_data_and_a_tiny_one(tmp_path, configure):
    config = ["data.validation=0.85", "eval.split=validation", "trainer.epochs=1"]
    train(configure(tmp_path / "large", "trainer.batch_size=100000", *config))
    metrics = train(configure(tmp_path / "tiny", "trainer.batch_size=2", *config))
    assert metrics["loss"] > 0
