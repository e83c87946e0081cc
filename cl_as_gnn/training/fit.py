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
from cl_as_gnn.config import RunConfig
from cl_as_gnn.errors import ConfigError, NotFiniteError, RunError
from cl_as_gnn.runs.folder import RunFolder, create_run, is_first_rank, open_run, resumed_config
from cl_as_gnn.runs.load import load_checkpoint
from cl_as_gnn.runs.process import check_ranks, keep_freed_memory, lost_rank, pick_device, pick_precision, uses_gpu
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.callbacks import Checkpoint, EpochLog, LossGuard, ProgressBar, diverged
from cl_as_gnn.training.module import ContrastiveModule

PACKAGES = ("cl-as-gnn", "torch", "torch-geometric", "torchvision", "lightning", "numpy")


def train(config: RunConfig, resume: RunFolder | None = None, console: Console | None = None) -> dict[str, Any]:
    """Train, evaluate, write the run folder; returns the content of ``metrics.json``.

    Args:
        config: the run.
        resume: continues this folder from its checkpoint; the numbers equal those of a run that never stopped.
        console: shows the progress; the default shows nothing.

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
    rows = EpochLog(task, run)
    trainer = _trainer(config, run, [LossGuard(), rows, ProgressBar(rows, console), Checkpoint(run)])
    fit_start = time.perf_counter()
    with _one_line(trainer, module, run):
        trainer.fit(module, ckpt_path=None if resume is None else run.checkpoint, weights_only=True)
    if config.trainer.ranks > 1:
        torch.distributed.destroy_process_group()  # the first rank continues alone
    fit_seconds = time.perf_counter() - fit_start
    if not trainer.is_global_zero:
        return {}
    metrics = _finish(module, run, console)
    metrics |= {"images_per_second": module.samples_seen / fit_seconds or None, "seconds": module.elapsed()}
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
    """Turn what can end a fit into a RunError with its cure; a rank that fails ends the others, also waiting ones."""
    try:
        yield
    except BaseException as error:
        kill_ranks(trainer.strategy.launcher)
        if isinstance(error, KeyboardInterrupt | SystemExit):  # Lightning turns Ctrl-C into an exit
            epoch = trainer.current_epoch + 1
            raise RunError(f"interrupted in epoch {epoch}: continue with clgnn train resume={run.path}") from None
        if isinstance(error, NotFiniteError):  # the neighbor search of a step meets NaN before the epoch's loss is read
            raise diverged(module, trainer.current_epoch + 1) from None
        if isinstance(error, RuntimeError) and lost_rank(error):
            raise RunError(
                "another process of this run has stopped, and its own message says why if it could write one: continue "
                f"with clgnn train resume={run.path}"
            ) from None
        raise


def _finish(module: ContrastiveModule, run: RunFolder, console: Console) -> dict[str, Any]:
    """Score the frozen encoder and its baselines."""
    config, task = module.config, module.task
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
    return metrics | {
        "protocol": task.protocol(),
        "config_digest": config.digest,
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": pick_precision(config.trainer),
    }


def continue_run(
    path: Path, given: Mapping[str, Any], console: Console | None = None
) -> tuple[RunFolder, dict[str, Any]]:
    """Continue a stopped run; a finished run stays as it is. Returns its folder and the content of ``metrics.json``.

    Raises:
        ConfigError: ``path`` is not a run folder, or ``given`` contradicts its settings.
        RunError: as in :func:`train`, or the checkpoint is broken.
    """
    run = open_run(path)
    config = resumed_config(run, given)
    finished = run.metrics.is_file()
    if console is not None and is_first_rank(config.trainer):
        done = f"[b]{path}[/b] has finished; clgnn evaluate {path} scores it again"
        console.print(done if finished else f"continuing [b]{path}[/b]", soft_wrap=finished)
    return run, run.load_metrics() if finished else train(config, run, console)
