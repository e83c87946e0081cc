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
from cl_as_gnn.errors import ConfigError, RunError

if TYPE_CHECKING:
    from torch import nn

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


class RunFolder:
    """The files ``config.yaml``, ``metrics.csv`` (by epoch), ``metrics.json`` (final), ``checkpoints/last.ckpt``,
    ``encoder.safetensors`` and TensorBoard events."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.history = path / "metrics.csv"
        self.metrics = path / "metrics.json"
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.encoder = path / "encoder.safetensors"

    def write(self, path: Path, text: str) -> None:
        """Replace a file of the run."""
        try:
            with replaced(path) as draft:
                draft.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; the file before it is kept") from None

    def save_encoder(self, encoder: nn.Module, extra: Mapping[str, Any]) -> None:
        """Write the weights as safetensors; ``extra`` goes into the header, to rebuild the encoder."""
        from safetensors.torch import save_file

        state = {k: v.detach().cpu().contiguous() for k, v in encoder.state_dict().items()}
        try:
            with replaced(self.encoder) as draft:
                save_file(state, draft, metadata={"cl_as_gnn": json.dumps(dict(extra))})
        except Exception as error:  # safetensors raises its own error type for a full disk
            raise RunError(f"cannot write {self.encoder}: {error}; the checkpoint is kept") from None

    def save_config(self, config: RunConfig) -> None:
        # With an absolute root the run can be resumed from another working directory.
        root = config.data.root.absolute() if config.data.root else None
        data = config.data.model_copy(update={"root": root})
        self.write(self.config, to_yaml(config.model_copy(update={"data": data})))

    def load_config(self) -> RunConfig:
        return build_config(read_yaml(self.config))

    def load_metrics(self) -> dict[str, Any]:
        if not self.metrics.is_file():
            raise ConfigError(f"{self.path} has not finished: continue it with clgnn train resume={self.path}")
        try:
            metrics: dict[str, Any] = json.loads(self.metrics.read_text(encoding="utf-8"))
        except ValueError:
            raise RunError(
                f"{self.metrics} is not JSON: remove it, and clgnn train resume={self.path} writes it again"
            ) from None
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
        with self.history.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if None not in row.values() and row.get("epoch", "").isdigit()]


def prepare_run(config: RunConfig) -> RunConfig:
    """Name the folder of a new run in its config, without writing; ConfigError if the folder already holds a run.

    Only the first of several ranks checks the folder, since the names of the others may differ.
    """
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"  # two runs may start in the same second
    path = config.run_dir or Path("runs") / f"{config.data.name}-{config.method.name}-seed{config.seed}-{stamp}"
    run = RunFolder(path)
    if is_first_rank(config.trainer):
        if run.config.exists():
            kept = f"already holds a run: continue it with resume={path}"
            begun = "holds a run that has not ended its first epoch: if it is not training now, remove the folder"
            raise ConfigError(f"run_dir={path} {kept if run.checkpoint.exists() else begun}, or choose another run_dir")
        for file in (run.history, run.metrics, run.checkpoint, run.encoder):
            if file.exists():
                raise ConfigError(f"{file} exists, and the run would overwrite it: choose another run_dir")
    return config.model_copy(update={"run_dir": path})


def create_run(config: RunConfig) -> RunFolder:
    """Create the folder of a new run and write the resolved config into it. Only the first rank writes."""
    config = prepare_run(config)
    assert config.run_dir is not None
    run = RunFolder(config.run_dir)
    if not is_first_rank(config.trainer):
        return run
    try:
        run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir={run.path} cannot be created: {error.strerror}") from None
    run.save_config(config)
    return run


def open_run(path: Path) -> RunFolder:
    """Return an existing run folder; raises ConfigError if ``path`` is not one."""
    run = RunFolder(path)
    if not path.is_dir():
        raise ConfigError(f"no run folder {path}: name the folder that clgnn train printed")
    if not run.config.is_file():
        raise ConfigError(f"{path} is not a run folder: it holds no config.yaml")
    return run


def resumed_config(run: RunFolder, given: Mapping[str, Any]) -> RunConfig:
    """The config of a run that goes on with the settings ``given`` beside ``resume=``.

    ``data.root`` and ``eval.*`` may change, and ``trainer.epochs`` may rise. All other settings must agree.
    """
    stored = read_yaml(run.config)
    config = build_config(merge(stored, given))
    before, after = flatten(stored), flatten(config.model_dump(mode="json"))
    if config.trainer.epochs < before["trainer.epochs"]:
        raise ConfigError(
            f"trainer.epochs={config.trainer.epochs} is less than the {before['trainer.epochs']} of {run.path}: give "
            "more to extend that run, or start a new one without resume="
        )
    for key in [*flatten(given), "method.name"]:
        free = key in ("run_dir", "data.root", "trainer.epochs") or key.startswith("eval.")
        if not free and after.get(key) != before.get(key):
            raise ConfigError(
                f"{key}={after.get(key)} contradicts {run.path}, which was trained with {before.get(key)}: "
                "drop it to continue that run, or start a new one without resume="
            )
    return config.model_copy(update={"run_dir": run.path})
