"""Real runs of two processes, started as a user starts them."""

import json
import os
import signal
import socket
import time

import pytest
import torch
from forked import Forked

EPOCHS = 3
TRAIN = [
    "train",
    *("trainer.accelerator=cpu", "trainer.devices=2", f"trainer.epochs={EPOCHS}", "trainer.batch_size=64"),
    *("method.name=jk", "encoder.width=8", "encoder.projector_hidden=32", "encoder.projector_dim=16"),
    *("data.validation=0.6", "eval.split=validation", "eval.baselines=false", "eval.draws=1", "eval.online_size=100"),
]
STEPS = 8  # of an epoch
# Rank 1 is killed in the fifth step of the second epoch.
DIES = """
import os, signal
from cl_as_gnn import cli
from cl_as_gnn.training.module import ContrastiveModule

step = ContrastiveModule.training_step


def dies(self, batch, batch_idx):
    if (self.trainer.current_epoch, batch_idx, self.trainer.global_rank) == (1, 4, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)


ContrastiveModule.training_step = dies
cli.main()
"""
SCORES = ("loss", "knn_top1", "linear_top1", "label1_top1", "alignment", "uniformity")


def as_torchrun(folder, *words):
    """Both ranks, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    same = {"TORCHELASTIC_RUN_ID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    same |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return [Forked(folder, *TRAIN, *words, **same, RANK=rank, LOCAL_RANK=rank) for rank in "01"]


def scores(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {key: metrics[key] for key in SCORES}


def history(run):
    path = run / "metrics.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two ranks in a folder that it names itself, with what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    process = Forked(folder, *TRAIN)
    out, error = process.communicate(timeout=500)
    assert process.returncode == 0, error
    return folder, out, error


def test_two_ranks_write_one_run(whole):
    folder, out, error = whole
    (run,) = (folder / "runs").iterdir()
    assert {"config.yaml", "metrics.csv", "metrics.json", "checkpoints", "encoder.safetensors"} <= set(os.listdir(run))
    assert not list(run.rglob("*.part"))
    assert len(history(run)) == EPOCHS
    losses = [float(row.split(",")[1]) for row in history(run)]
    assert losses[-1] < losses[0]
    assert scores(run)["knn_top1"] > 50
    # One process prints: the folder once, an epoch's line once, the table once.
    assert [out.count(text) for text in ("run folder", f"epoch 1/{EPOCHS}", "10 labels")] == [1, 1, 1]
    assert error == ""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_rank_that_dies_in_an_epoch_ends_the_run_which_resumes_to_the_same_numbers(whole, tmp_path, same_numbers):
    run = tmp_path / "run"
    (tmp_path / "dies.py").write_text(DIES)
    process = Forked(tmp_path, *TRAIN, "run_dir=run", "trainer.checkpoint_every=3", script="dies.py")
    try:
        _, error = process.communicate(timeout=300)
    finally:
        process.kill()
    # Two steps after the checkpoint rank 1 was killed: the other has not waited for it.
    assert time.time() - (run / "checkpoints" / "last.ckpt").stat().st_mtime < 60
    # It ends by itself with one line; where that takes long, Lightning ends it.
    assert process.returncode in (1, -signal.SIGKILL)
    if process.returncode == 1:
        assert error.splitlines()[-1].startswith("error: another process of this run has stopped")
    assert "Traceback" not in error
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == STEPS + 3
    for rank in as_torchrun(tmp_path, "resume=run"):
        _, error = rank.communicate(timeout=500)
        assert (rank.returncode, error) == (0, "")
    (other,) = (whole[0] / "runs").iterdir()
    assert scores(run) == scores(other)
    same_numbers(run, other)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("group", [True, False])
def test_sigterm_ends_both_ranks_with_one_line(tmp_path, group):
    """A cluster sends it to all processes of a job, or to the first."""
    process = Forked(tmp_path, *TRAIN, "run_dir=run", "trainer.epochs=5000")
    deadline = time.time() + 400
    while time.time() < deadline and not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    try:
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, error
    assert error.startswith("error: ended by SIGTERM in epoch ")
    assert error.endswith(": continue with clgnn train resume=run\n")
    assert error.count("\n") == 1
