"""A run folder: its files, and how they are written and read without loss. Imports no torch."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_as_gnn.config import RunConfig, TrainerConfig, build_config, flatten, merge, read_yaml, to_yaml
from cl_as_gnn.config.data import SPACES
from cl_as_gnn.config.older import stored_names
from cl_as_gnn.errors import ConfigError, RunError, quoted
from cl_as_gnn.runs.lock import locked

if TYPE_CHECKING:
    from torch import nn

_ABSENT = object()
# Set by torchrun, by Slurm, and by Lightning for the processes that it starts.
_RANK_VARIABLES = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")


def is_first_rank(config: TrainerConfig) -> bool:
    """Whether this process prints and writes: the only one of its run, or the first of several."""
    return config.ranks == 1 or not any(int(os.environ.get(name) or 0) for name in _RANK_VARIABLES)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a draft to write, which then replaces ``path`` in one move; a failure leaves the old file."""
    draft = path.with_name(path.name + ".part")
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def check_out(out: Path, what: str, suffix: str) -> None:
    """Raise ConfigError unless ``--out`` is a file with this suffix in a folder that is there; ``what`` is written."""
    if out.suffix != suffix:
        raise ConfigError(f"--out {out}: {what} written as {suffix}, name the file {out.stem}{suffix}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file in it")


class RunFolder:
    """The files ``config.yaml``, ``metrics.csv`` (by epoch), ``metrics.json`` (final), ``checkpoints/last.ckpt``,
    ``encoder.safetensors``, ``generator.safetensors`` (of runs with ``data.generator``), ``data.safetensors`` (of runs
    on data that were passed from Python) and TensorBoard events."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.history = path / "metrics.csv"
        self.metrics = path / "metrics.json"
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.encoder = path / "encoder.safetensors"
        self.generator = path / "generator.safetensors"
        self.data = path / "data.safetensors"

    def write(self, path: Path, text: str) -> None:
        """Replace a file of the run."""
        try:
            with replaced(path) as draft:
                draft.write_text(text, encoding="utf-8")
        except OSError as error:
            kept = "; the file before it is kept" if path.exists() else ""
            raise RunError(f"cannot write {path}: {error.strerror}{kept}") from None

    def advice(self) -> str:
        """How a run that stops now goes on."""
        if self.checkpoint.is_file():
            return f"continue with clgnn train resume={quoted(self.path)}"
        return f"no checkpoint has been written, remove {self.path} and start again"

    def save_encoder(self, encoder: nn.Module, extra: Mapping[str, Any]) -> None:
        """Write the weights as safetensors; ``extra`` goes into the header, to rebuild the encoder."""
        from safetensors.torch import save_file

        state = {k: v.detach().cpu().contiguous() for k, v in encoder.state_dict().items()}
        try:
            with replaced(self.encoder) as draft:
                save_file(state, draft, metadata={"cl_as_gnn": json.dumps(dict(extra))})
        except Exception as error:  # safetensors raises its own error type for a full disk
            line = " ".join(str(error).split())
            raise RunError(f"cannot write {self.encoder}: {line}; {self.advice()}") from None

    def save_config(self, config: RunConfig) -> None:
        # With absolute roots the run can be resumed from another working directory.
        sections = {
            key: part.model_copy(
                update={
                    name: path.absolute()
                    for name in ("root", "cache", "transfer")
                    if isinstance(path := getattr(part, name, None), Path)
                }
            )
            for key, part in (("data", config.data), ("eval", config.eval))
        }
        self.write(self.config, to_yaml(config.model_copy(update=sections)))

    def keep_generator(self, config: RunConfig) -> None:
        """Copy the view generator of a run, if it has one from a file: the run goes on with the copy."""
        name = config.generator
        if name is None or name in SPACES:
            return
        try:
            with replaced(self.generator) as draft:
                draft.write_bytes(Path(name).read_bytes())
        except OSError as error:
            raise RunError(f"cannot write {self.generator}: {error.strerror}") from None

    def keep_data(self, config: RunConfig) -> None:
        """Copy the data of a run that were passed from Python, unless they are large."""
        if getattr(config.data, "content", None):
            from cl_as_gnn.datasets.given import keep

            keep(config.data, self.data)

    def load_config(self) -> RunConfig:
        """Read ``config.yaml``; ConfigError if it is not the complete config of a run.

        ``data.generator``, and ``data.root`` of data that were passed from Python, are the copies in this folder.
        """
        stored = stored_names(read_yaml(self.config))
        for key in RunConfig.model_fields:  # a file that was cut off would mean the defaults
            if key not in stored or (key != "seed" and not stored[key]):
                raise ConfigError(f"{self.config} has no {key}, it is not the config of a run: put back that file")
        if isinstance(stored["data"], dict) and stored["data"].get("generator") not in (None, *SPACES):
            stored["data"]["generator"] = str(self.generator)
        if isinstance(stored["data"], dict) and stored["data"].get("content") and self.data.is_file():
            stored["data"]["root"] = str(self.data)
        return build_config(stored)

    def load_metrics(self) -> dict[str, Any]:
        """Read ``metrics.json``; ConfigError if there is none, RunError if it is not that of this run."""
        if not self.metrics.exists():
            raise ConfigError(f"{self.path} has not finished: continue it with clgnn train resume={quoted(self.path)}")
        again = f"remove it, and clgnn train resume={quoted(self.path)} writes it again"
        try:
            metrics: dict[str, Any] = json.loads(self.metrics.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"cannot read {self.metrics}: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise RunError(f"{self.metrics} is not JSON: {again}") from None
        if wrong := _wrong_metric(metrics):
            raise RunError(f"{self.metrics} holds no scores of a run ({wrong}): {again}")
        if "config" in metrics:
            check_same(self, self.metrics, metrics["config"], self.load_config())
        return metrics

    def append_history(self, row: Mapping[str, float | int]) -> None:
        """Add one epoch. Incomplete rows, and epochs that a resumed run repeats, are dropped first."""
        rows = [old for old in self.read_history() if int(old["epoch"]) < int(row["epoch"])]
        lines = [",".join(row)] + [",".join(old.get(k) or "" for k in row) for old in rows]
        texts = ("" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append(",".join(texts))
        self.write(self.history, "\n".join(lines) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        if not self.history.is_file():
            return []
        try:
            with self.history.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
        except OSError as error:
            raise RunError(f"cannot read {self.history}: {error.strerror}") from None
        except (ValueError, csv.Error):
            raise RunError(f"{self.history} is not a table: remove it, only the curves are lost") from None
        return [row for row in rows if row.get("epoch", "").isdecimal()]


def _wrong_metric(metrics: Any) -> str | None:
    """The first entry of ``metrics.json`` that is missing or of another type."""
    if not isinstance(metrics, dict):
        return f"it is a {type(metrics).__name__}"
    kinds: dict[str, Any] = {**dict.fromkeys(("method", "dataset", "protocol", "config_digest"), str), "versions": dict}
    for key, kind in {**kinds, "seconds": (int, float), "epochs": int, "seed": int}.items():
        if not isinstance(metrics.get(key), kind):
            return f"no {key}" if key not in metrics else f"{key} is {metrics[key]!r:.40}"
    rows = metrics.get("baselines", {})
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        return "baselines"
    for row in (metrics, *rows.values()):
        for key, value in row.items():
            if key.endswith("_top1") and not isinstance(value, int | float | None):
                return f"{key} is {value!r:.40}"
    # Images without labels have no accuracy.
    return None if metrics.keys() & {"knn_top1", "linear_top1", "view_agreement"} else "no accuracy"


def _is_free(key: str) -> bool:
    """Whether a setting may change between the parts of a run. The scored split decides on the training images."""
    free = ("run_dir", "data.root", "data.cache", "trainer.epochs", "trainer.checkpoint_every", "trainer.logger")
    return key in free or (key.startswith("eval.") and key != "eval.split")


def check_same(run: RunFolder, file: Path, settings: Any, config: RunConfig) -> None:
    """Raise RunError unless the ``settings`` stored in a ``file`` are those of the run.

    Settings that only one of them knows are those of another version, and not compared.
    """
    if not isinstance(settings, Mapping):
        raise RunError(f"{file} holds no settings: it is no file of this package")
    now, settings = config.stored(), stored_names(settings)
    for key in ("method.name", *flatten(now), *flatten(settings)):
        before, after = _value(settings, key), _value(now, key)
        if before is _ABSENT or after is _ABSENT or before == after:
            continue
        if not _is_free(key):
            raise RunError(
                f"{file} is of a run with {key}={before}, and {run.config} has {key}={after}: put back the file of "
                "this run, or start a new run"
            )
        if key == "trainer.epochs" and not (isinstance(before, int) and before < after):
            raise RunError(
                f"{file} is of a run with {key}={before}, which is more than {key}={after} of {run.config}: put back "
                "the file of this run"
            )


def _value(tree: Any, key: str) -> Any:
    """A setting in a nested mapping; that of a section which is null is null too."""
    for part in key.split("."):
        if tree is None:
            return None
        if not isinstance(tree, Mapping) or part not in tree:
            return _ABSENT
        tree = tree[part]
    return tree


def prepare_run(config: RunConfig) -> RunConfig:
    """Name the folder of a new run in its config, without writing; ConfigError if the folder already holds a run.

    Only the first of several ranks checks the folder, since the names of the others may differ.
    """
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"  # two runs may start in the same second
    path = config.run_dir or Path("runs") / f"{config.data.name}-{config.method.name}-seed{config.seed}-{stamp}"
    run = RunFolder(path)
    if is_first_rank(config.trainer):
        if run.config.exists():
            kept = f"already holds a run: continue it with resume={quoted(path)}"
            begun = "holds a run without a checkpoint: if it is not training now, remove the folder"
            raise ConfigError(f"run_dir={path} {kept if run.checkpoint.exists() else begun}, or choose another run_dir")
        for file in (run.history, run.metrics, run.checkpoint, run.encoder, run.generator, run.data):
            if file.exists():
                raise ConfigError(f"{file} exists, and the run would overwrite it: choose another run_dir")
    return config.model_copy(update={"run_dir": path})


@contextmanager
def create_run(config: RunConfig) -> Iterator[RunFolder]:
    """Create and lock the folder of a new run, and write the resolved config into it. Only the first rank writes."""
    config = prepare_run(config)
    assert config.run_dir is not None
    run = RunFolder(config.run_dir)
    if not is_first_rank(config.trainer):
        yield run
        return
    try:
        run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir={run.path} cannot be created: {error.strerror}") from None
    with locked(run.path):
        prepare_run(config)  # another process may have been faster
        run.keep_generator(config)
        run.keep_data(config)
        run.save_config(config)
        yield run


def open_run(path: Path) -> RunFolder:
    """Return an existing run folder; raises ConfigError if ``path`` is not one."""
    run = RunFolder(path)
    try:
        if not path.is_dir():
            raise ConfigError(f"no run folder {path}: name the folder that clgnn train printed")
        if not run.config.is_file():
            raise ConfigError(f"{path} is not a run folder: it holds no config.yaml")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return run


def resumed_config(run: RunFolder, given: Mapping[str, Any]) -> RunConfig:
    """The config of a run that goes on with the settings ``given`` beside ``resume=``.

    ``data.root``, ``data.cache``, ``trainer.checkpoint_every`` and ``eval.*`` except ``eval.split`` may change, and
    ``trainer.epochs`` may rise. All other settings must agree.
    """
    stored = run.load_config()
    config = build_config(merge(stored.model_dump(mode="json"), given))
    before, after = flatten(stored.stored()), flatten(config.stored())
    if config.trainer.epochs < before["trainer.epochs"]:
        raise ConfigError(
            f"trainer.epochs={config.trainer.epochs} is less than the {before['trainer.epochs']} of {run.path}: give "
            "more to extend that run, or start a new one without resume="
        )
    for key in [*flatten(given), "method.name"]:
        if not _is_free(key) and after.get(key) != before.get(key):
            raise ConfigError(
                f"{key}={after.get(key)} contradicts {run.path}, which was trained with {before.get(key)}: "
                "drop it to continue that run, or start a new one without resume="
            )
    update: dict[str, Any] = {"run_dir": run.path}
    if config.generator is not None:  # the copy in the folder, which holds the same
        update["data"] = config.data.model_copy(update={"generator": stored.generator})
    return config.model_copy(update=update)
