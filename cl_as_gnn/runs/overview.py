"""The runs in a folder, as a table. Imports no torch, and reads damaged runs as far as it can."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cl_as_gnn import light
from cl_as_gnn.config import read_yaml
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.listing import print_lines
from cl_as_gnn.runs.lock import locked

_COLUMNS = ("run", "method", "data", "epochs", "state")


def find_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run below a folder, oldest first: run, method, data, seed, epochs done and to do, state, and main scores.

    The state is ``finished``, ``training``, ``stopped`` (it can be continued), ``empty`` (before its first checkpoint)
    or ``damaged``.

    Raises:
        ConfigError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}: clgnn train writes runs, clgnn runs FOLDER names another place")
    paths = sorted(_folders(folder), key=lambda path: ((path / "config.yaml").stat().st_mtime, path))
    if not paths:
        raise ConfigError(f"{folder} holds no runs: clgnn train writes them, clgnn runs FOLDER names another place")
    return [_record(RunFolder(path)) for path in paths]


def _folders(folder: Path) -> Iterator[Path]:
    for path, below, files in os.walk(folder):
        if "config.yaml" in files:
            yield Path(path)
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]


def _record(run: RunFolder) -> dict[str, Any]:
    record: dict[str, Any] = {"run": str(run.path)}
    try:
        config = read_yaml(run.config)
        record |= {"method": config["method"]["name"], "data": config["data"]["name"], "seed": config["seed"]}
        rows = run.read_history()
        record |= {"epochs": int(rows[-1]["epoch"]) if rows else 0, "of": int(config["trainer"]["epochs"])}
        metrics = json.loads(run.metrics.read_text(encoding="utf-8")) if run.metrics.is_file() else None
        record["state"] = "finished" if metrics else _state(run)
        return record | {key: metrics[key] for key in _scores() if metrics and metrics.get(key) is not None}
    except (ConfigError, RunError, OSError, ValueError, KeyError, TypeError):
        return record | {"state": "damaged"}


def _state(run: RunFolder) -> str:
    try:
        with locked(run.path):
            return "stopped" if run.checkpoint.is_file() else "empty"
    except ConfigError:
        return "training"


def _scores() -> dict[str, Any]:
    """The main scores, with and without labels."""
    scores = light.read("cl_as_gnn.evaluation.scores")
    keys = ("knn_top1", "linear_top1", "label10_top1", "view_agreement", "effective_rank")
    return {key: scores.find_score(key) for key in keys}


def print_runs(found: Sequence[dict[str, Any]], folder: Path, console: Console) -> None:
    """Print a line per run, named from ``folder``; scores that none has are left out, accuracies are in per cent."""
    scores = {key: score for key, score in _scores().items() if any(key in run for run in found)}
    if any("knn_top1" in run for run in found):  # which say more than these
        scores = {key: score for key, score in scores.items() if key.endswith("_top1")}
    rows = []
    for run in found:
        epochs = f"{run['epochs']}/{run['of']}" if "of" in run else "–"
        numbers = [score.text(run.get(key)) for key, score in scores.items()]
        name = os.path.relpath(run["run"], folder) if console.is_terminal else run["run"]
        rows.append([name, run.get("method", "–"), run.get("data", "–"), epochs, run["state"], *numbers])
    if not console.is_terminal:
        print_lines([[*_COLUMNS, *scores], *rows], console)
        return
    table = Table(box=None, pad_edge=False)
    for heading in _COLUMNS:
        table.add_column(
            heading,
            overflow="fold",
            style="bold" if heading == "run" else "",
            justify="right" if heading == "epochs" else "left",
        )
    for score in scores.values():
        table.add_column(score.title + " %" * (score.unit == "%"), justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
