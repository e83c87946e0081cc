"""Score a finished run again, and export its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cl_as_gnn.datasets import read_images
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import open_run, replaced
from cl_as_gnn.runs.load import load_encoder, read_header
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import load_task
from cl_as_gnn.tasks.embed import embed


def evaluate_run(path: Path, console: Console) -> dict[str, Any]:
    """Compute the scores of a run's encoder, and of its baselines, as in its ``metrics.json``."""
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    task = load_task(config, console.is_terminal)
    with console.status("evaluating"):
        metrics: dict[str, Any] = {"method": config.method.name, "dataset": task.name}
        metrics |= task.score(task.features(encoder, device))
        if config.eval.baselines:
            metrics["baselines"] = task.baselines(device)
    return metrics


def export_features(path: Path, out: Path, console: Console, images: Path | None = None) -> dict[str, tuple[int, ...]]:
    """Write the features and labels of every split, or of other images, to an ``.npz`` and return their shapes.

    Args:
        path: the run.
        out: the file.
        console: shows a progress bar if it is a terminal.
        images: a folder of other images; the file then holds their ``features`` and ``files``, paths in the folder.

    Raises:
        ConfigError: ``out`` is no place for an ``.npz`` file, the run is unfinished, or ``images`` is given for graphs.
        RunError: the file cannot be written.
    """
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are written as .npz, name the file {out.stem}.npz")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file in it")
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    if images is None:
        tensors = load_task(config, console.is_terminal).features(encoder, device)
        arrays = {name: value.numpy() for name, value in tensors.items()}
    else:
        header = read_header(run)
        if "image_size" not in header:
            raise ConfigError(f"--images {images}: the encoder of {path} reads graphs: leave --images out")
        files, pixels = read_images(images, header["channels"], header["image_size"], console.is_terminal)
        arrays = {
            "features": embed(encoder, pixels, (header["mean"], header["std"]), device).numpy(),
            "files": np.array([file.relative_to(images).as_posix() for file in files]),
        }
    try:
        with replaced(out) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    return {name: tuple(value.shape) for name, value in arrays.items()}
