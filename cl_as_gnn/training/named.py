"""The loggers and callbacks that settings name: who watches a run besides its folder."""

from __future__ import annotations

import io
import json
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from cl_as_gnn.compat import import_named
from cl_as_gnn.config import RunConfig, flatten, to_yaml
from cl_as_gnn.errors import ConfigError, RunError, reason
from cl_as_gnn.runs.folder import RunFolder

PROJECT = "cl_as_gnn"
"""Project or experiment in a tracker, where its environment variable names no other."""


def named_callbacks(config: RunConfig) -> list[Callback]:
    """Make the callbacks of ``trainer.callbacks``; ConfigError if one cannot be made."""
    made = []
    for entry in config.trainer.callbacks:
        given: dict[str, Any] = dict(entry)
        name = given.pop("class")
        try:
            callback = import_named(name)(**given)
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(
                f"trainer.callbacks={name} cannot be made ({reason(error)}): name an importable "
                f"module and a class in it, and its arguments as in {{class: {name}, argument: value}}"
            ) from None
        if not isinstance(callback, Callback):
            raise ConfigError(f"trainer.callbacks={name} makes a {type(callback).__name__}, not a Lightning Callback")
        made.append(callback)
    return made


def check_loggers(config: RunConfig) -> None:
    """Raise ConfigError if the package of a logger is not installed."""
    for name in config.trainer.logger:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name, as wandb writes one, is no package
            raise ConfigError(f"trainer.logger={name} needs the package {name}: pip install 'cl-as-gnn[{name}]'")


def make_loggers(config: RunConfig, run: RunFolder) -> list[Logger]:
    """Make the loggers of ``trainer.logger``, and hand them the settings of the run.

    Raises:
        RunError: a logger cannot start.
    """
    loggers = []
    for name in config.trainer.logger:
        try:
            logger = _MAKERS[name](run)
            log_settings(logger, config)
        except Exception as error:  # each has error types of its own
            reason = " ".join(str(error).split())[:160]
            raise RunError(
                f"trainer.logger={name} cannot start ({type(error).__name__}: {reason}): {_CURES[name]}"
            ) from None
        loggers.append(logger)
    return loggers


def log_settings(logger: Logger, config: RunConfig) -> None:
    """Hand over all settings: as text to TensorBoard, which would write them to a file of its own, else by key."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("config", f"```yaml\n{to_yaml(config)}```", 0)
    elif not (isinstance(logger, MLFlowLogger) and logger.experiment.get_run(logger.run_id).data.params):
        # MLflow refuses other settings of a run that it knows, as of one that got more epochs.
        logger.log_hyperparams(flatten(config.model_dump(mode="json")))


def log_scores(loggers: list[Logger], metrics: Mapping[str, Any]) -> None:
    """Hand over the numbers of ``metrics.json`` as ``final/…``, at the last epoch, and close the loggers."""
    numbers = {f"final/{k}": float(v) for k, v in metrics.items() if isinstance(v, int | float) and k != "seed"}
    for logger in loggers:
        logger.log_metrics(numbers, int(metrics["epochs"]))
        logger.finalize("success")
        if isinstance(logger, WandbLogger):  # which leaves its run open for more, also in the next run of the process
            logger.experiment.finish()


class TrackioLogger(Logger):
    """Logs to a `trackio <https://github.com/gradio-app/trackio>`_ project on this machine.

    Args:
        project: where the run is listed.
        name: of the run; one of that name is continued.
    """

    def __init__(self, project: str, name: str):
        super().__init__()
        self._project, self._name = project, name
        self._settings: dict[str, Any] = {}
        self._run: Any = None

    @property
    def name(self) -> str:
        return self._project

    @property
    def version(self) -> str:
        return self._name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self._settings |= dict(vars(params) if isinstance(params, Namespace) else params)
        self._start()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._start()
        self._run.log(dict(metrics), step=step)

    def _start(self) -> None:
        """Start the run, or go on with it: Lightning ends it with the training, and the scores are still to come."""
        import trackio

        if self._run is None:
            with redirect_stdout(io.StringIO()):  # it prints how to look at the project
                self._run = trackio.init(self._project, self._name, config=self._settings, resume="allow")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._run is not None:
            with redirect_stdout(io.StringIO()):
                self._run.finish()
            self._run = None


def _tensorboard(run: RunFolder) -> Logger:
    return TensorBoardLogger(run.path, name="", version="")


def _wandb(run: RunFolder) -> Logger:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    settings = wandb.Settings(console="off", quiet=True)
    name, key = run.path.resolve().name, _kept(run, "wandb", uuid4().hex)
    logger = WandbLogger(name, run.path, id=key, project=project, settings=settings)
    _ = logger.experiment  # starts it
    return logger


def _mlflow(run: RunFolder) -> Logger:
    place = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    logger = MLFlowLogger(experiment, run.path.resolve().name, place, run_id=_kept(run, "mlflow"))
    _kept(run, "mlflow", logger.run_id)
    return logger


def _trackio(run: RunFolder) -> Logger:
    name = _kept(run, "trackio", f"{run.path.resolve().name}-{uuid4().hex[:6]}")
    assert name is not None
    return TrackioLogger(os.environ.get("TRACKIO_PROJECT", PROJECT), name)


def _kept(run: RunFolder, tracker: str, new: str | None = None) -> str | None:
    """The name by which a tracker knows this run, also when it is resumed: ``new``, unless ``loggers.json`` has one."""
    file = run.path / "loggers.json"
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if tracker not in known and new is not None:
        known[tracker] = new
        run.write(file, json.dumps(known) + "\n")
    return known.get(tracker)


_MAKERS: dict[str, Callable[[RunFolder], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
_CURES = {
    "tensorboard": "see whether the run folder can be written, or use trainer.logger=none",
    "wandb": "log in with wandb login, or set WANDB_MODE=offline",
    "mlflow": "set MLFLOW_TRACKING_URI to a server or a database, such as sqlite:///mlflow.db",
    "trackio": "set TRACKIO_DIR to a folder that can be written",
}
