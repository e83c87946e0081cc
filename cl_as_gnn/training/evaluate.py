"""What is done with a finished run: score it again, export its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from cl_as_gnn.data import channel_stats
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.training.embed import embed
from cl_as_gnn.training.fit import baselines, scored_data
from cl_as_gnn.training.process import pick_device
from cl_as_gnn.training.protocol import score
from cl_as_gnn.training.runs import load_encoder, open_run


def evaluate_run(path: Path, console: Console) -> dict[str, Any]:
    """kNN and probes of a run's encoder, as in its ``metrics.json``."""
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    data = scored_data(config, console.is_terminal)
    stats = channel_stats(data.train)
    with console.status("evaluating"):
        train, test = (embed(encoder, split.images, stats, device) for split in (data.train, data.test))
        metrics: dict[str, Any] = {"method": config.method.name, "dataset": data.name}
        metrics |= score(train, test, data, config.eval)
        if config.eval.baselines:
            metrics["baselines"] = baselines(config, data, stats, device)
    return metrics


def export_features(path: Path, out: Path, console: Console) -> dict[str, tuple[int, ...]]:
    """Write ``train``, ``test`` (and ``validation``) features and labels to an ``.npz``; returns the shapes."""
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are written as .npz, name the file {out.with_suffix('.npz').name}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    data = scored_data(config, console.is_terminal)
    stats = channel_stats(data.train)
    arrays: dict[str, Tensor] = {}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        if len(split):
            arrays[name] = embed(encoder, split.images, stats, device)
            arrays[f"{name}_labels"] = split.labels
    try:
        np.savez(out, **{name: value.numpy() for name, value in arrays.items()})  # type: ignore[arg-type]
    except OSError as error:
        out.unlink(missing_ok=True)
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    return {name: tuple(value.shape) for name, value in arrays.items()}
