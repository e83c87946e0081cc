"""Train the runs of a suite, each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cl_as_gnn.compare.results import available_cores, curves, differences, markdown, summarize
from cl_as_gnn.compare.suite import Cell, Suite
from cl_as_gnn.errors import RunError
from cl_as_gnn.runs.folder import RunFolder


def run_suite(suite: Suite, cells: Sequence[Cell], out: Path, jobs: int, console: Console) -> dict[str, Any]:
    """Train the runs that have not finished, ``jobs`` at a time, and write results.json, results.md, results.png and,
    if the suite has curves, curves.png.

    A stopped run continues from its checkpoint; finished runs are kept. Each run is a process with its own GPU, if the
    machine has several, and with its share of the cores. On a CPU the number of threads changes the order of sums, so
    the last digits of a run depend on ``jobs``.

    Raises:
        RunError: a run failed; the others are trained and kept.
    """
    waiting = [cell for cell in cells if cell.metrics is None]
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar, ThreadPoolExecutor(jobs) as pool:
        task = bar.add_task(suite.name, total=len(cells), completed=len(cells) - len(waiting))
        failures = []
        for error in pool.map(lambda pair: _train(pair[1], pair[0] % jobs, jobs, out), enumerate(waiting)):
            bar.advance(task)
            if error:
                failures.append(error)
    if failures:
        raise RunError(f"{len(failures)} of {len(cells)} runs failed, the first: {failures[0]}; the others are kept")
    results = summarize(suite, cells)
    run = RunFolder(out)
    run.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    run.write(out / "results.md", markdown(results))
    differences(results).savefig(out / "results.png", dpi=150)
    if suite.curves:
        curves(results).savefig(out / "curves.png", dpi=150)
    return results


def _train(cell: Cell, slot: int, jobs: int, out: Path) -> str | None:
    """Train one run in its own process; returns its error message, or ``None``."""
    env = dict(os.environ)
    visible = env.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if cell.config.trainer.accelerator == "cpu" or not gpus:
        share, given = max(1, available_cores() // jobs), env.get("OMP_NUM_THREADS", "")
        env["OMP_NUM_THREADS"] = str(min(share, int(given)) if given.isdigit() and int(given) else share)
    else:
        env["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    if cell.run.checkpoint.is_file():
        words = [f"resume={cell.run.path}"]
    else:
        source = out / "configs" / f"{cell.row}-seed{cell.seed}.yaml"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(yaml.safe_dump(cell.config.model_dump(mode="json")), encoding="utf-8")
        for file in (cell.run.config, cell.run.history):  # stopped before its first checkpoint: start again
            if file.is_file():
                file.unlink()
        words = [str(source)]
    command = [sys.executable, "-m", "cl_as_gnn.cli", "train", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return f"{cell.row} seed {cell.seed}: {lines[-1] if lines else f'exit code {done.returncode}'}"
