"""A run folder: what is in it, how it is written without loss, how it is read back."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import cl_as_gnn.methods  # noqa: F401  (the config of a run names one)
from cl_as_gnn.config import GNNConfig, RunConfig, build_config, read_yaml, to_yaml
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.process import is_first_rank


@dataclass(frozen=True)
class RunFolder:
    """``config.yaml``, ``metrics.csv`` (by epoch), ``metrics.json`` (final), ``checkpoints/last.ckpt``,
    ``encoder.safetensors`` and TensorBoard events."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def history(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def encoder(self) -> Path:
        return self.path / "encoder.safetensors"

    def write(self, path: Path, text: str) -> None:
        """Whole or not at all."""
        draft = path.with_name(path.name + ".part")
        try:
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise RunError(f"cannot write {path}: {error.strerror}; what was written before is kept") from None

    def save_encoder(self, encoder: nn.Module, extra: Mapping[str, Any]) -> None:
        """Weights as safetensors, with what is needed to rebuild the encoder in the header."""
        state = {k: v.detach().cpu().contiguous() for k, v in encoder.state_dict().items()}
        draft = self.encoder.with_name(self.encoder.name + ".part")
        try:
            save_file(state, draft, metadata={"cl_as_gnn": json.dumps(dict(extra))})
            os.replace(draft, self.encoder)
        except Exception as error:  # safetensors raises its own error type for a full disk
            draft.unlink(missing_ok=True)
            raise RunError(f"cannot write {self.encoder}: {error}; the checkpoint is kept") from None

    def load_config(self) -> RunConfig:
        return build_config(read_yaml(self.config))

    def load_metrics(self) -> dict[str, Any]:
        if not self.metrics.is_file():
            raise ConfigError(f"{self.path} has not finished: continue it with clgnn train resume={self.path}")
        try:
            metrics: dict[str, Any] = json.loads(self.metrics.read_text(encoding="utf-8"))
        except ValueError:
            raise RunError(
                f"{self.metrics} is no JSON any more: remove it, and clgnn train resume={self.path} writes it anew"
            ) from None
        return metrics

    def append_history(self, row: Mapping[str, float | int]) -> None:
        """Add one epoch; a file cut short by a kill, or epochs that a resumed run does again, are dropped first."""
        rows = [old for old in self.read_history() if int(old["epoch"]) < int(row["epoch"])]
        lines = [",".join(row)] + [",".join(old.get(k) or "" for k in row) for old in rows]
        values = ("" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append(",".join(values))
        self.write(self.history, "\n".join(lines) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        if not self.history.is_file():
            return []
        with self.history.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if None not in row.values() and row.get("epoch", "").isdigit()]


def prepare_run(config: RunConfig) -> RunConfig:
    """The config with its run folder named; ConfigError if that folder holds a run already.

    Of several ranks only the first looks, and writes: the others' names may differ.
    """
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"  # runs may start in the same second
    path = config.run_dir or Path("runs") / f"{config.data.name}-{config.method.name}-seed{config.seed}-{stamp}"
    run = RunFolder(path)
    if is_first_rank(config.trainer):
        if run.config.exists() and not run.checkpoint.exists():
            raise ConfigError(
                f"run_dir={path} holds a run that has not ended its first epoch: if it is not training now, remove the "
                "folder, or name another one"
            )
        if run.config.exists():
            raise ConfigError(
                f"run_dir={path} holds a run already: continue it with resume={path}, or name another folder"
            )
        for file in (run.history, run.metrics, run.checkpoint, run.encoder):
            if file.exists():
                raise ConfigError(f"{file} is there already, and a run would write over it: name another run_dir")
    return config.model_copy(update={"run_dir": path})


def create_run(config: RunConfig) -> RunFolder:
    """Make the folder of a new run and put the resolved config into it (the first rank does)."""
    config = prepare_run(config)
    assert config.run_dir is not None
    run = RunFolder(config.run_dir)
    if not is_first_rank(config.trainer):
        return run
    try:
        run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir={run.path} cannot be made: {error.strerror}") from None
    # An absolute root, so that the run can be resumed from another folder.
    root = config.data.root.absolute() if config.data.root else None
    run.write(run.config, to_yaml(config.model_copy(update={"data": config.data.model_copy(update={"root": root})})))
    return run


def open_run(path: Path) -> RunFolder:
    """An existing run folder, or ConfigError."""
    run = RunFolder(path)
    if not path.is_dir():
        raise ConfigError(f"no run folder {path}: name the folder that clgnn train printed")
    if not run.config.is_file():
        raise ConfigError(f"{path} is not a run folder: it holds no config.yaml")
    return run


def read_header(run: RunFolder) -> dict[str, Any]:
    """What a finished run's encoder reads and is: of images ``name``, ``width``, ``channels``, ``image_size``, and
    ``mean`` and ``std`` of each channel on the scale [0, 1], by which images are normalized; of graphs ``gnn``,
    ``in_channels`` and ``pool``."""
    from safetensors import safe_open

    if not run.encoder.is_file():
        raise ConfigError(f"{run.path} has no trained encoder yet: finish it with clgnn train resume={run.path}")
    try:
        with safe_open(str(run.encoder), framework="pt") as file:
            meta: dict[str, Any] = json.loads((file.metadata() or {})["cl_as_gnn"])
    except Exception as error:  # safetensors has its own type for a broken file
        raise RunError(
            f"{run.encoder} cannot be read ({type(error).__name__}): it is no encoder of this package. If the run's "
            f"checkpoint is whole, remove metrics.json and write it anew with clgnn train resume={run.path}"
        ) from None
    method = run.load_config().method.name
    if meta.get("method", method) != method:
        raise RunError(
            f"{run.encoder} was trained by method.name={meta['method']}, and {run.config} says {method}: put the "
            "files of one run back together"
        )
    return meta


def load_encoder(run: RunFolder) -> nn.Module:
    """The trained encoder of a finished run, in eval mode on the CPU."""
    from cl_as_gnn.encoders import GraphEncoder, build_encoder

    meta = read_header(run)
    encoder: nn.Module
    if "gnn" in meta:
        encoder = GraphEncoder(meta["in_channels"], GNNConfig.model_validate(meta["gnn"]), meta["pool"])
    else:
        encoder = build_encoder(meta["name"], meta["channels"], meta["image_size"], meta["width"])
    try:
        encoder.load_state_dict(load_file(run.encoder))
    except RuntimeError:
        raise RunError(
            f"{run.encoder} does not fit the encoder {meta.get('gnn', meta)['name']!r} of this version: use the "
            "version of cl_as_gnn that trained it (metrics.json names it), or train again"
        ) from None
    return encoder.eval()


def load_checkpoint(run: RunFolder) -> dict[str, Any]:
    """The latest checkpoint of a run, checked to be one."""
    if not run.checkpoint.is_file():
        raise ConfigError(f"{run.path} has no checkpoint yet, its first epoch did not end: remove it and start anew")
    try:
        state: dict[str, Any] = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
        if "cl_as_gnn" not in state:
            raise KeyError("cl_as_gnn")
    except Exception as error:
        name = type(error).__name__
        raise RunError(
            f"{run.checkpoint} cannot be read ({name}): it is no checkpoint of this package, start anew"
        ) from None
    return state
