"""Train from a config to a finished run folder, or continue a stopped run."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console

from cl_as_gnn.compat import kill_ranks, quiet_lightning
from cl_as_gnn.config import RunConfig, build_config, flatten, merge, read_yaml
from cl_as_gnn.errors import ConfigError, NotFiniteError, RunError
from cl_as_gnn.runs.folder import RunFolder, create_run, open_run
from cl_as_gnn.runs.load import load_checkpoint
from cl_as_gnn.runs.process import (
    check_ranks,
    is_first_rank,
    keep_freed_memory,
    lost_rank,
    pick_device,
    pick_precision,
    uses_gpu,
)
from cl_as_gnn.tasks import Task, load_task
from cl_as_gnn.training.callbacks import Checkpoint, EpochLog, LossGuard, OnlineKNN, ProgressBar, diverged
from cl_as_gnn.training.module import ContrastiveModule

PACKAGES = ("cl-as-gnn", "torch", "torch-geometric", "torchvision", "lightning", "numpy")


def resumed_config(run: RunFolder, given: Mapping[str, Any]) -> RunConfig:
    """The config of a stopped run. Settings beside ``resume=`` must agree with it; only ``data.root`` may change."""
    stored = read_yaml(run.config)
    config = build_config(stored)
    before = flatten(stored)
    after = flatten(build_config(merge(stored, given)).model_dump(mode="json"))
    for key in [*flatten(given), "method.name"]:
        if key not in ("run_dir", "data.root") and after.get(key) != before.get(key):
            raise ConfigError(
                f"{key}={after.get(key)} contradicts {run.path}, which was trained with {before.get(key)}: "
                "drop it to continue that run, or start a new one without resume="
            )
    root = build_config(merge(stored, given)).data.root
    return config.model_copy(update={"run_dir": run.path, "data": config.data.model_copy(update={"root": root})})


def train(config: RunConfig, resume: RunFolder | None = None, console: Console | None = None) -> dict[str, Any]:
    """Train, evaluate, write the run folder; returns the content of ``metrics.json``.

    Args:
        config: the run.
        resume: continue this folder from its checkpoint; the numbers equal those of a run that never stopped.
        console: shows the progress; nothing is shown if not given.

    Raises:
        ConfigError: a setting or the data is wrong; nothing has been trained.
        RunError: the run failed; the last checkpoint is kept.
    """
    console = console or Console(quiet=True)
    if config.trainer.accelerator == "gpu" and not uses_gpu(config.trainer):
        raise ConfigError("trainer.accelerator=gpu, but there is no CUDA device: use trainer.accelerator=auto or cpu")
    check_ranks(config.trainer)
    if not is_first_rank(config.trainer):
        console = Console(quiet=True)
    start = time.perf_counter()
    quiet_lightning()
    keep_freed_memory(config.trainer)
    task = load_task(config, progress=console.is_terminal)
    before = 0.0 if resume is None else float(load_checkpoint(resume)["cl_as_gnn"]["seconds"])
    seed_everything(config.seed, verbose=False)
    module = ContrastiveModule(config, task)
    module.elapsed = lambda: before + time.perf_counter() - start
    run = resume or create_run(config)
    if resume is None:
        console.print(f"{config.method.name} on {config.data.name}, run folder [b]{run.path}[/b]", soft_wrap=True)
    online = OnlineKNN(task, config.eval)
    callbacks = [LossGuard(), online, ProgressBar(online, console), EpochLog(run, online), Checkpoint(run)]
    trainer = _trainer(config, run, callbacks)
    fit_start = time.perf_counter()
    with _one_line(trainer, module, run):
        trainer.fit(module, ckpt_path=None if resume is None else run.checkpoint, weights_only=True)
    if config.trainer.ranks > 1:
        torch.distributed.destroy_process_group()  # the first rank continues alone
    fit_seconds = time.perf_counter() - fit_start
    trained = module.samples_seen
    if not trainer.is_global_zero:
        return {}
    metrics = _finish(config, task, module, run, console)
    metrics |= {"images_per_second": trained / fit_seconds if trained else None, "seconds": module.elapsed()}
    run.write(run.metrics, json.dumps(metrics, indent=2) + "\n")
    return metrics


def _trainer(config: RunConfig, run: RunFolder, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        default_root_dir=run.path,
        max_epochs=config.trainer.epochs,
        accelerator="gpu" if uses_gpu(config.trainer) else "cpu",
        # Banks and statistics are replicas, computed from the whole batch: the first rank need not send its buffers.
        strategy="auto" if config.trainer.ranks == 1 else DDPStrategy(broadcast_buffers=False),
        devices=config.trainer.devices,
        num_nodes=config.trainer.num_nodes,
        precision=pick_precision(config.trainer),
        logger=TensorBoardLogger(run.path, name="", version=""),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=10**9,
        num_sanity_val_steps=0,
    )


@contextmanager
def _one_line(trainer: Trainer, module: ContrastiveModule, run: RunFolder) -> Iterator[None]:
    """Raise RunError with the cure for what can end a fit; a rank that fails ends the others, also waiting ones."""
    try:
        yield
    except BaseException as error:
        kill_ranks(trainer.strategy.launcher)
        if isinstance(error, KeyboardInterrupt | SystemExit):  # Lightning turns Ctrl-C into an exit
            raise RunError(
                f"interrupted in epoch {trainer.current_epoch + 1}: continue with clgnn train resume={run.path}"
            ) from None
        if isinstance(error, NotFiniteError):  # the neighbor search of a step meets NaN before the epoch's loss is read
            raise diverged(module, trainer.current_epoch + 1) from None
        if isinstance(error, RuntimeError) and lost_rank(error):
            raise RunError(
                "another process of this run has stopped, and its own message says why if it could write one: continue "
                f"with clgnn train resume={run.path}"
            ) from None
        raise


def _finish(
    config: RunConfig, task: Task, module: ContrastiveModule, run: RunFolder, console: Console
) -> dict[str, Any]:
    """Score the frozen encoder and its baselines."""
    device = pick_device(config.trainer)  # Lightning has moved the module back to the CPU
    module.to(device)
    encoder = module.method.encoder.eval()
    run.save_encoder(encoder, task.header() | {"method": config.method.name})
    with console.status("evaluating"):
        features = task.features(encoder, device)
        metrics: dict[str, Any] = {
            "method": config.method.name,
            "dataset": task.name,
            "seed": config.seed,
            "epochs": config.trainer.epochs,
            "num_views": config.method.num_views,
            "loss": module.epoch_loss,
            "graph_purity": module.graph_purity,
            **task.score(features),
        }
        metrics |= task.geometry(module.method.eval(), module.augment, features, device)
        if config.eval.baselines:
            metrics["baselines"] = task.baselines(device)
    metrics |= {
        "protocol": task.protocol(),
        "config_digest": config.digest,
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": pick_precision(config.trainer),
    }
    return metrics


def continue_run(
    path: Path, given: Mapping[str, Any], console: Console | None = None
) -> tuple[RunFolder, dict[str, Any]]:
    """Continue a stopped run from its last checkpoint; a finished run stays as it is.

    Returns:
        the run folder and the content of ``metrics.json``.

    Raises:
        ConfigError: ``path`` is not a run folder, or ``given`` contradicts its settings.
        RunError: as in :func:`train`, or the checkpoint is broken.
    """
    run = open_run(path)
    config = resumed_config(run, given)
    if run.metrics.is_file():
        if console is not None and is_first_rank(config.trainer):
            console.print(f"[b]{path}[/b] has finished; clgnn evaluate {path} scores it again", soft_wrap=True)
        return run, run.load_metrics()
    if console is not None and is_first_rank(config.trainer):
        console.print(f"continuing [b]{path}[/b]")
    return run, train(config, run, console)
