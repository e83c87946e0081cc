"""Whole steps of SimCLR from photographs in files: ours on Lightning, and LightlyTrain in an environment of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks.photos.data import RECIPE, Plan
from cl_as_gnn.config import RunConfig, load_config
from cl_as_gnn.runs.process import keep_freed_memory, pick_precision
from cl_as_gnn.tasks import Task, load_task
from cl_as_gnn.training.module import ContrastiveModule

MODEL = "torchvision/resnet18"
BATCH = 32
SKIPPED = 3
"""Steps that are not timed: the first ones take what queues hold."""
PEER = Path(__file__).with_name("peer.py")


def config_of(plan: Plan, memory: float = 0.0) -> RunConfig:
    """SimCLR with the head, temperature, optimizer and recipe of LightlyTrain; ``memory`` 0: read by the batch."""
    recipe = [f"data.augment.{key}={json.dumps(value)}" for key, value in RECIPE.model_dump(mode="json").items()]
    return load_config(
        None,
        [
            "data.name=folder",
            f"data.root={plan.folder}",
            "data.labels=none",
            f"data.image_size={plan.side}",
            f"data.memory={memory:g}",
            *(line for line in recipe if not line.endswith("=null")),
            f"encoder.name={MODEL}",
            "encoder.projector_hidden=2048",
            "encoder.projector_dim=128",
            "method.name=simclr",
            "method.temperature=0.1",
            "optim.name=sgd",
            f"trainer.batch_size={plan.batch}",
            "trainer.accelerator=cpu",
        ],
    )


class Watch(Callback):
    """The end of every step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.marks.append(time.perf_counter())


class Ours:
    """Short training runs; a call returns the seconds of each timed step."""

    def __init__(self, plan: Plan, task: Task | None = None) -> None:
        self.plan, self.config = plan, config_of(plan)
        self.task = task or load_task(self.config, progress=False)
        self.about = {"precision": pick_precision(self.config.trainer), "threads": torch.get_num_threads()}
        keep_freed_memory(self.config.trainer)
        for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=r"lightning\..*")

    def __call__(self) -> list[float]:
        watch = Watch()
        seed_everything(0, verbose=False)
        trainer = Trainer(
            max_steps=SKIPPED + self.plan.timed,
            accelerator="cpu",
            precision=pick_precision(self.config.trainer),
            callbacks=[watch],
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(ContrastiveModule(self.config, self.task))
        return [b - a for a, b in zip(watch.marks[SKIPPED - 1 :], watch.marks[SKIPPED:], strict=False)]


class LightlyTrain:
    """The same by ``lightly_train.pretrain`` in a process of another environment, with its own defaults."""

    def __init__(self, plan: Plan, python: str, workers: str = "auto") -> None:
        self.plan, self.python, self.workers = plan, python, workers
        self.about: dict[str, Any] = {}

    def __call__(self) -> list[float]:
        plan = self.plan
        with tempfile.TemporaryDirectory() as out:
            sizes = map(str, (plan.side, plan.batch, SKIPPED, plan.timed))
            command = [self.python, str(PEER), str(plan.folder), out, MODEL, *sizes, self.workers]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.python} {PEER.name} failed: {done.stderr[-800:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        seconds: list[float] = found.pop("seconds")
        self.about = found
        return seconds


def in_turn(contenders: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of the timed steps of each contender, by round."""
    out: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            out[name].append(call())
    return out
