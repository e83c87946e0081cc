"""Callbacks: the check of the loss, the log, the checkpoint, the progress bar."""

from __future__ import annotations

import math
import os
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from cl_as_gnn.errors import RunError
from cl_as_gnn.evaluation import feature_spread
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.process import lost_rank
from cl_as_gnn.tasks import Task
from cl_as_gnn.tasks.base import rank_of
from cl_as_gnn.training.health import collapse_note, collapsed
from cl_as_gnn.training.module import QUANTITIES, ContrastiveModule


def diverged(module: ContrastiveModule, epoch: int, run: RunFolder) -> RunError:
    """The error of a run whose loss or weights are not finite, with what is left of it."""
    kept = f"{run.checkpoint} is from before that" if run.checkpoint.is_file() else "no checkpoint was written before"
    return RunError(
        f"the loss of {module.config.method.name} is not finite in epoch {epoch}, step {module.bad_step}: lower "
        f"optim.lr (now {module.config.optim.lr:g}) or raise the temperature, and start again; {kept}"
    )


def check_finite(trainer: Trainer, module: LightningModule, run: RunFolder) -> None:
    """Stop a run whose loss or weights are not finite."""
    assert isinstance(module, ContrastiveModule)
    if not (math.isfinite(module.epoch_loss) and all(p.isfinite().all() for p in module.parameters())):
        raise diverged(module, trainer.current_epoch + 1, run)


class LossGuard(Callback):
    """Stops a run that has diverged before anything is written about the epoch."""

    def __init__(self, run: RunFolder):
        self.run = run

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_finite(trainer, pl_module, self.run)


class EpochLog(Callback):
    """Writes one row per epoch to metrics.csv and the loggers, and shows it to other callbacks under the same names.

    Every ``eval.online_every`` epochs it watches some training samples: kNN accuracy against each other, effective rank
    and spread of their features; every ``eval.graph_every`` epochs it measures the last minibatch graph. A collapse is
    told once.

    Attributes:
        collapsed_at: epoch since which features or projections are collapsed; ``None`` if they are not.
    """

    def __init__(self, task: Task, run: RunFolder, console: Console):
        self.task, self.run, self.console = task, run, console
        self.collapsed_at: int | None = None
        self._told = False
        self._collapsed: dict[str, bool] = {}
        self._spectrum: dict[str, float | None] = dict.fromkeys(("feature_rank", "feature_spread"))
        self.online_knn: float | None = None
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ContrastiveModule)
        if not trainer.is_global_zero:
            return
        config, epoch = pl_module.config, trainer.current_epoch + 1
        last = epoch == trainer.max_epochs
        if last or epoch % config.eval.online_every == 0:
            self._watch(pl_module)
        graph: dict[str, float | None] = dict.fromkeys(QUANTITIES)
        if config.eval.graph_every and (last or epoch % config.eval.graph_every == 0):
            assert pl_module.minibatch is not None
            graph = pl_module.minibatch.quantities(getattr(config.method, "temperature", 0.5))
            most = min(pl_module.minibatch.x.shape)
            self._collapsed["projections"] = collapsed(graph["graph_rank"], graph["graph_spread"], most)
        row: dict[str, Any] = {
            "epoch": epoch,
            "loss": pl_module.epoch_loss,
            "online_knn": self.online_knn,
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            **graph,
            **self._spectrum,
            "seconds": time.perf_counter() - self._start,
        }
        self.run.append_history(row)
        known = {k: v for k, v in row.items() if v is not None and k != "epoch"}
        for logger in trainer.loggers:
            logger.log_metrics(known, epoch)
        pl_module.log_dict(known, logger=False, rank_zero_only=True)
        method = pl_module.method
        # One may draw each class to a point on purpose; of the other, early features share what all positions have.
        if not (method.reads_labels or method.needs_patches):
            self._tell_collapse(trainer, epoch)

    def _watch(self, module: ContrastiveModule) -> None:
        self.online_knn, x = self.task.online(module.method.encoder, module.device)
        rank, spread = rank_of(x), feature_spread(x)
        self._spectrum = {"feature_rank": rank, "feature_spread": spread}
        self._collapsed["features"] = collapsed(rank, spread, min(x.shape))

    def _tell_collapse(self, trainer: Trainer, epoch: int) -> None:
        if not any(self._collapsed.values()):
            self.collapsed_at = None
            return
        self.collapsed_at = self.collapsed_at or epoch
        if self._told:
            return
        self._told, line = True, collapse_note(epoch)
        self.console.print(line, style="yellow", highlight=False, soft_wrap=True)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("collapse", line, epoch)

    def state_dict(self) -> dict[str, Any]:
        return {
            "collapsed_at": self.collapsed_at,
            "told": self._told,
            "collapsed": self._collapsed,
            "online_knn": self.online_knn,
            "spectrum": self._spectrum,
            "seconds": time.perf_counter() - self._start,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed_at, self._told = state_dict["collapsed_at"], state_dict["told"]
        self._collapsed = dict(state_dict["collapsed"])
        # Versions before 0.3 store no more.
        self.online_knn = state_dict.get("online_knn")
        self._spectrum |= state_dict.get("spectrum", {})
        self._start = time.perf_counter() - state_dict.get("seconds", 0.0)


class Checkpoint(LightningCheckpoint):
    """Replaces ``checkpoints/last.ckpt`` in one move, so that a kill never leaves half a file.

    It does so after every epoch, and after every ``trainer.checkpoint_every`` steps of a longer one. Lightning calls it
    after all other callbacks, whose states the file holds.

    Attributes:
        step: optimizer steps in the checkpoint.
    """

    def __init__(self, run: RunFolder):
        self.run, self.step = run, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ContrastiveModule)
        every, done = pl_module.config.trainer.checkpoint_every, batch_idx + 1
        if every and done % every == 0 and done < trainer.num_training_batches:
            check_finite(trainer, pl_module, self.run)
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        draft = self.run.checkpoint.with_suffix(".part")
        try:
            trainer.save_checkpoint(draft)
            if trainer.is_global_zero:
                os.replace(draft, self.run.checkpoint)
            self.step = trainer.global_step
        except (OSError, RuntimeError) as error:
            if lost_rank(error) or not trainer.is_global_zero:
                raise
            line = " ".join(str(error).split())
            raise RunError(
                f"cannot write {self.run.checkpoint}: {line}; free some space and {self.run.advice()}"
            ) from None
        finally:
            if trainer.is_global_zero:
                draft.unlink(missing_ok=True)


class ProgressBar(Callback):
    """Shows one bar for the whole run, which moves with the steps, or ten lines if the output is not a terminal."""

    # Seconds between two updates: a step on a GPU is shorter.
    EVERY = 0.1

    def __init__(self, rows: EpochLog, console: Console):
        self.rows, self.console = rows, console
        self.bar: Progress | None = None
        self._samples, self._numbers, self._shown = 0, "", 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock = time.perf_counter()
        if not (trainer.is_global_zero and self.console.is_terminal):
            return
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[numbers]}"),  # loss, online kNN and speed
            TimeRemainingColumn(compact=True),
            console=self.console,
            speed_estimate_period=300,  # online kNN estimates come between some epochs
        )
        self.bar.start()
        self._task = self.bar.add_task("", numbers="", epoch=f"1/{trainer.max_epochs}", total=None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += len(batch if isinstance(batch, Tensor) else batch[0]) * trainer.world_size
        now = time.perf_counter()
        if self.bar is not None and now - self._shown > self.EVERY:
            self._shown = now
            self._show(self.bar, trainer, pl_module, batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ContrastiveModule)
        if not trainer.is_global_zero:
            return
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 1
        knn = "" if self.rows.online_knn is None else f"  kNN {self.rows.online_knn:.1f} %"
        self._numbers = f"loss {pl_module.epoch_loss:.3f}{knn}  "
        if self.bar is not None:
            self._show(self.bar, trainer, pl_module, int(trainer.num_training_batches))
        elif epoch == last or epoch % max(1, last // 10) == 0:
            numbers = self._numbers + self._speed(pl_module)
            self.console.print(f"epoch {epoch}/{last}  {numbers}", highlight=False)

    def _show(self, bar: Progress, trainer: Trainer, module: LightningModule, steps: int) -> None:
        """``steps`` of the current epoch are done."""
        each, last = int(trainer.num_training_batches), trainer.max_epochs or 1
        bar.update(
            self._task,
            completed=trainer.current_epoch * each + steps,
            total=last * each,
            epoch=f"{trainer.current_epoch + 1}/{last}",
            numbers=self._numbers + self._speed(module),
        )

    def _speed(self, module: LightningModule) -> str:
        assert isinstance(module, ContrastiveModule)
        return f"{self._samples / (time.perf_counter() - self._clock):,.0f} {module.task.unit}/s"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
