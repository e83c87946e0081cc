"""Train from a config to a finished run folder, or continue a stopped run."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console
from rich.text import Text
from torch import nn

from cl_as_gnn.compat import keep_signals, kill_ranks, quiet_lightning
from cl_as_gnn.config import RunConfig
from cl_as_gnn.errors import ConfigError, NotFiniteError, RunError, quoted
from cl_as_gnn.evaluation.scores import ELSEWHERE, headline
from cl_as_gnn.methods import Method
from cl_as_gnn.runs.folder import RunFolder, create_run, is_first_rank, open_run, resumed_config
from cl_as_gnn.runs.load import load_checkpoint, load_method, misfit
from cl_as_gnn.runs.lock import locked
from cl_as_gnn.runs.process import (
    check_ranks,
    keep_freed_memory,
    lost_rank,
    pick_device,
    pick_precision,
    uses_gpu,
)
from cl_as_gnn.runs.stop import interruptible
from cl_as_gnn.tasks import Task, load_task
from cl_as_gnn.training.callbacks import Checkpoint, EpochLog, LossGuard, ProgressBar, diverged
from cl_as_gnn.training.launcher import cluster
from cl_as_gnn.training.module import ContrastiveModule
from cl_as_gnn.training.named import check_loggers, log_scores, log_settings, make_loggers, named_callbacks

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
PACKAGES = ("cl-as-gnn", "torch", "torch-geometric", "torchvision", "lightning", "numpy")


@dataclass(frozen=True)
class Watchers:
    """Who watches a run besides those that its config names."""

    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()


def train(
    config: RunConfig,
    resume: RunFolder | None = None,
    console: Console | None = None,
    watchers: Watchers = Watchers(),
) -> dict[str, Any]:
    """Train, evaluate, write the run folder; returns the content of ``metrics.json``.

    Args:
        config: the run.
        resume: continues this folder from its checkpoint; the numbers equal those of a run that never stopped.
        console: shows the progress; the default shows nothing.
        watchers: callbacks and loggers of the caller's own.

    Raises:
        ConfigError: a setting or the data is wrong; nothing has been trained.
        RunError: the run failed; the last checkpoint is kept.
    """
    console = console or Console(quiet=True)
    if config.trainer.accelerator == "gpu" and not uses_gpu(config.trainer):
        raise ConfigError("trainer.accelerator=gpu, but there is no CUDA device: use trainer.accelerator=auto or cpu")
    check_ranks(config.trainer)
    check_loggers(config)
    callbacks = [*named_callbacks(config), *watchers.callbacks]
    if not is_first_rank(config.trainer):
        console = Console(quiet=True)
    start = time.perf_counter()
    quiet_lightning()
    keep_freed_memory(config.trainer)
    task = load_task(config, progress=console.is_terminal)
    if resume is None:  # the folder of a run holds all settings
        config = task.settle()
    before = 0.0
    if resume is not None:
        state = load_checkpoint(resume, config)
        before = float(state["cl_as_gnn"]["seconds"])
        check_callbacks(resume, state, callbacks)
    seed_everything(config.seed, verbose=False)
    encoder = task.encoder()
    if resume is None:
        for line in encoder.start(config.encoder):
            console.print(line, soft_wrap=True, markup=False)
    module = ContrastiveModule(config, task, encoder)
    if resume is None:
        for line in task.prepare(module.method):
            console.print(line, soft_wrap=True, markup=False)
    module.elapsed = lambda: before + time.perf_counter() - start
    with create_run(config) if resume is None else nullcontext(resume) as run:
        if resume is None:
            name = Text(str(run.path), "bold")  # which may hold rich's markup
            console.print("run folder", name, soft_wrap=True)
            for line in task.notes():
                console.print(line, soft_wrap=True, markup=False)
        for line in task.capped():
            console.print(line, soft_wrap=True, markup=False)
        return _fit(run, module, resume is not None, console, Watchers(callbacks, watchers.loggers))


def _fit(
    run: RunFolder, module: ContrastiveModule, resumes: bool, console: Console, watchers: Watchers
) -> dict[str, Any]:
    """Train in a locked folder, save the encoder and score it."""
    config, task = module.config, module.task
    rows, kept = EpochLog(task, run, console), Checkpoint(run)
    loggers = make_loggers(config, run) if is_first_rank(config.trainer) else []
    for logger in watchers.loggers:
        log_settings(logger, config)
    loggers += watchers.loggers
    trainer = _trainer(
        config, run, [LossGuard(run), rows, ProgressBar(rows, console), *watchers.callbacks, kept], loggers
    )
    keep_signals(trainer)

    def cure(what: str) -> str:
        epoch = trainer.current_epoch + 1
        where = f" in epoch {epoch}" if epoch <= config.trainer.epochs else ""
        if run.checkpoint.is_file() and (lost := trainer.global_step - kept.step):
            where += f", {lost} step{'s'[: lost > 1]} after the last checkpoint"
        return f"{what}{where}: {run.advice()}" if is_first_rank(config.trainer) else ""

    with interruptible(cure, end=lambda: kill_ranks(trainer.strategy.launcher)):
        fit_start = time.perf_counter()
        with _one_line(trainer, module, run):
            trainer.fit(module, ckpt_path=run.checkpoint if resumes else None, weights_only=True)
        if config.trainer.ranks > 1:
            torch.distributed.destroy_process_group()  # the first rank continues alone
        fit_seconds = time.perf_counter() - fit_start
        if not trainer.is_global_zero:
            return {}
        device = pick_device(config.trainer)  # Lightning has moved the module back to the CPU
        module.to(device)
        settings = {"method": config.method.name, "config": config.experiment()}
        run.save_encoder(module.method.encoder.eval(), task.header() | settings)
        metrics = {
            "method": config.method.name,
            "dataset": task.name,
            "seed": config.seed,
            "epochs": trainer.current_epoch,  # fewer than configured if a callback has stopped the run
            "num_views": config.method.num_views,
            "loss": module.epoch_loss,
            "graph_purity": module.graph_purity,
            "graph_agreement": module.graph_agreement,
            "collapsed_at": rows.collapsed_at,
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
            "precision": pick_precision(config.trainer),
            "images_per_second": module.samples_seen / fit_seconds or None,
            **({"extended_from": module.extended} if module.extended else {}),
            **task.facts(),
        }
        metrics = _score(run, task, module.method.eval(), module.augment, metrics, module.elapsed, console)
        log_scores(loggers, metrics)
        return metrics


def check_callbacks(run: RunFolder, state: Mapping[str, Any], callbacks: Sequence[Callback]) -> None:
    """Raise ConfigError if a checkpoint holds the state of a callback that is not given this time."""
    known = {kind.__qualname__ for kind in (LossGuard, EpochLog, ProgressBar, Checkpoint)}
    known |= {callback.state_key for callback in callbacks}
    if missing := sorted(state.get("callbacks", {}).keys() - known):
        raise ConfigError(
            f"{run.path} was trained with the callback {missing[0]}, whose state is in the checkpoint: continue it in "
            "Python with the same callbacks="
        )


def _trainer(config: RunConfig, run: RunFolder, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    return Trainer(
        default_root_dir=run.path,
        max_epochs=config.trainer.epochs,
        accelerator="gpu" if uses_gpu(config.trainer) else "cpu",
        # Banks and statistics are replicas, computed from the whole batch: the first rank need not send its buffers.
        strategy="auto" if config.trainer.ranks == 1 else DDPStrategy(broadcast_buffers=False),
        devices=config.trainer.devices,
        num_nodes=config.trainer.num_nodes,
        plugins=[*cluster(config.trainer)],
        precision=pick_precision(config.trainer),
        logger=loggers,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=10**9,
        num_sanity_val_steps=0,
        benchmark=uses_gpu(config.trainer),  # cuDNN tries its convolutions on the first batch: all have one shape
    )


@contextmanager
def _one_line(trainer: Trainer, module: ContrastiveModule, run: RunFolder) -> Iterator[None]:
    """Turn what can end a fit into a RunError with its cure; a rank that fails ends the others, also waiting ones."""
    try:
        yield
    except BaseException as error:
        kill_ranks(trainer.strategy.launcher)
        if isinstance(error, SystemExit):  # Lightning turns a KeyboardInterrupt into an exit
            raise KeyboardInterrupt from None
        if isinstance(error, NotFiniteError):  # the neighbor search of a step meets NaN before the epoch's loss is read
            raise diverged(module, trainer.current_epoch + 1, run) from None
        if isinstance(error, RuntimeError) and lost_rank(error):
            time.sleep(0.5)  # what has ended the other rank may be a signal that comes to this one as well
            raise RunError(
                "another process of this run has stopped, and its own message says why if it could write one: "
                f"{run.advice()}"
            ) from None
        if isinstance(error, RuntimeError) and "in loading state_dict" in str(error):
            raise misfit(run, module.config) from None
        if isinstance(error, OSError) and error.errno in _DISK:
            raise RunError(f"cannot write in {run.path}: {error.strerror}; {run.advice()}") from None
        raise


def _score(
    run: RunFolder,
    task: Task,
    method: Method[Any],
    views: nn.Module,
    metrics: dict[str, Any],
    elapsed: Callable[[], float],
    console: Console,
) -> dict[str, Any]:
    """Score the frozen encoder, then its baselines, and write ``metrics.json`` after both."""
    config, device = task.config, next(method.parameters()).device
    with console.status("evaluating"):
        features = task.features(method.encoder, device, scored=True)
        for key in (*headline(), *ELSEWHERE):  # other eval.* may leave some undefined
            metrics.pop(key, None)
        metrics |= task.score(features) | task.geometry(method, views, features, device)
        metrics |= task.information(method, views, device)
        metrics |= task.method_scores(method)
        # A run that got more epochs has had other schedules than one that was given them at first.
        digest = "+".join([config.digest, *map(str, metrics.get("extended_from", ()))])
        protocol = "; ".join([task.protocol(), *task.capped()])
        metrics |= {"protocol": protocol, "config_digest": digest, "seconds": elapsed()}
        metrics["config"] = config.experiment()
        metrics.pop("baselines", None)
        _write(run, task, metrics)
        if config.eval.baselines:
            metrics |= {"baselines": task.baselines(device), "seconds": elapsed()}
            _write(run, task, metrics)
    return metrics


def _write(run: RunFolder, task: Task, metrics: Mapping[str, Any]) -> None:
    if broken := task.broken():
        run.write(run.path / "broken.txt", "\n".join(broken) + "\n")
    run.write(run.metrics, json.dumps(metrics, indent=2) + "\n")


def continue_run(
    path: Path,
    given: Mapping[str, Any],
    console: Console | None = None,
    watchers: Watchers = Watchers(),
) -> tuple[RunFolder, dict[str, Any]]:
    """Continue a stopped run, or a finished one that ``given`` extends or scores in another way.

    A finished run is trained further if ``trainer.epochs`` has risen; the schedules are those of the new number of
    epochs, and its scores so far are kept as ``metrics-EPOCHS.json``. It is scored again if ``eval.*`` has changed, or
    if it was stopped before its baselines. Otherwise it stays as it is.

    Returns:
        the run folder and the content of ``metrics.json``.

    Raises:
        ConfigError: ``path`` is not a run folder, or ``given`` contradicts its settings.
        RunError: as in :func:`train`, or the checkpoint is broken.
    """
    run = open_run(path)
    config = resumed_config(run, given)
    if not is_first_rank(config.trainer):
        return run, _go_on(run, config, Console(quiet=True), watchers)
    with locked(path):
        return run, _go_on(run, config, console or Console(quiet=True), watchers)


def _go_on(run: RunFolder, config: RunConfig, console: Console, watchers: Watchers) -> dict[str, Any]:
    before, name = run.load_config(), Text(str(run.path), "bold")
    metrics = run.load_metrics() if run.metrics.exists() else None
    more = config.trainer.epochs > before.trainer.epochs
    if metrics is None or more or run.checkpoint.exists():
        load_checkpoint(run, config)  # one that is broken, or of another run, must not cost the scores
    if more:
        if metrics is not None and is_first_rank(config.trainer):
            os.replace(run.metrics, run.metrics.with_stem(f"metrics-{metrics['epochs']}"))
        metrics = None
    if config != before and is_first_rank(config.trainer):
        run.save_config(config)
    if metrics is None:
        console.print("continuing", name, soft_wrap=True)
        return train(config, run, console, watchers)
    if not is_first_rank(config.trainer):
        return metrics
    if config.eval == before.eval and ("baselines" in metrics or not config.eval.baselines):
        console.print(
            name, f"has finished; clgnn evaluate {quoted(run.path)} scores it again", soft_wrap=True, markup=False
        )
        return metrics
    console.print("scoring", name, soft_wrap=True)
    start = time.perf_counter() - metrics["seconds"]
    task = load_task(config, progress=console.is_terminal)
    device = pick_device(config.trainer)
    method, views = load_method(config, task, run).to(device), task.views().to(device)
    with interruptible(lambda what: f"{what}: {run.advice()}"):
        return _score(run, task, method, views, metrics, lambda: time.perf_counter() - start, console)
