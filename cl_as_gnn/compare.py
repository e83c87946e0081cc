"""Suites of runs: methods × seeds at one budget, and what they show."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from pydantic import Field, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy import stats

from cl_as_gnn.config import RunConfig, Settings, build_config, merge, parse_overrides, read_yaml
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.training.runs import RunFolder

HEADLINE = {
    "knn_top1": "kNN",
    "linear_top1": "linear",
    "label1_top1": "1 label",
    "label10_top1": "10 labels",
}


class Suite(Settings):
    """A YAML suite: what all runs share, what each changes, and against which one differences are taken."""

    name: str
    baseline: str = Field(description="the run that differences are taken to")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    base: dict[str, Any] = Field(default_factory=dict, description="settings of every run")
    runs: dict[str, dict[str, Any]] = Field(min_length=1, description="name of the run: settings over the base")


@dataclass(frozen=True)
class Cell:
    """One run of a suite: a row's settings with one seed."""

    row: str
    seed: int
    config: RunConfig

    @property
    def run(self) -> RunFolder:
        assert self.config.run_dir is not None
        return RunFolder(self.config.run_dir)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Numbers of the finished run, if it was this very experiment."""
        if not self.run.metrics.is_file():
            return None
        found: dict[str, Any] = json.loads(self.run.metrics.read_text(encoding="utf-8"))
        if found["config_digest"] != self.config.digest:
            raise ConfigError(
                f"{self.run.path} holds other settings than the suite now has: remove it, or name another --out"
            )
        return found


def load_suite(path: Path, overrides: Sequence[str], out: Path) -> tuple[Suite, list[Cell]]:
    """A suite and its runs, each checked before anything is trained.

    Args:
        path: the YAML file.
        overrides: ``key=value`` settings over the base of every run, or ``seeds=[...]``.
        out: folder of the results.
    """
    tree = read_yaml(path)
    given = parse_overrides(overrides)
    if "seeds" in given:
        tree["seeds"] = given.pop("seeds")
    tree.setdefault("name", path.stem)
    try:
        suite = Suite.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    if suite.baseline not in suite.runs:
        raise ConfigError(f"{path}: baseline {suite.baseline!r} is none of its runs: {', '.join(suite.runs)}")
    cells = []
    for row, settings in suite.runs.items():
        for seed in suite.seeds:
            tree = merge(merge(merge(suite.base, settings), given), {"seed": seed})
            config = build_config(tree)
            cells.append(Cell(row, seed, config.model_copy(update={"run_dir": out / "runs" / row / f"seed{seed}"})))
    return suite, cells


def run_suite(suite: Suite, cells: Sequence[Cell], out: Path, jobs: int, console: Console) -> dict[str, Any]:
    """Train what is not trained yet, ``jobs`` runs at a time, and write results.json, results.md and results.png.

    A run that was stopped goes on from its checkpoint; finished runs are kept. Each run is a process of its own, on a
    GPU of its own where there are several, and on its share of the cores (the number of threads is part of the
    arithmetic on a CPU: the last digits of a run depend on ``jobs``).
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
    results = summarise(suite, cells)
    run = RunFolder(out)
    run.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    run.write(out / "results.md", markdown(results))
    plot(results).savefig(out / "results.png", dpi=150)
    return results


def _train(cell: Cell, slot: int, jobs: int, out: Path) -> str | None:
    """One run in its own process; its last line of complaint, or None."""
    env = dict(os.environ)
    if cell.config.trainer.accelerator == "cpu" or not _gpus():
        env["OMP_NUM_THREADS"] = str(max(1, _cores() // jobs))
    else:
        env["CUDA_VISIBLE_DEVICES"] = _gpus()[slot % len(_gpus())]
    folder = cell.run.path
    if cell.run.checkpoint.is_file():
        words = [f"resume={folder}"]
    else:
        source = out / "configs" / f"{cell.row}-seed{cell.seed}.yaml"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(yaml.safe_dump(cell.config.model_dump(mode="json")), encoding="utf-8")
        if cell.run.config.is_file():  # stopped before its first checkpoint: nothing to go on from
            cell.run.config.unlink()
        words = [str(source)]
    command = [sys.executable, "-m", "cl_as_gnn.cli", "train", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return f"{cell.row} seed {cell.seed}: {lines[-1] if lines else f'exit code {done.returncode}'}"


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Mean of paired differences and the half-width of its 95 % interval (Student's t; NaN for one pair)."""
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def summarise(suite: Suite, cells: Sequence[Cell]) -> dict[str, Any]:
    """Mean, standard deviation (n − 1) and paired differences to the baseline over the same seeds."""
    table: dict[str, dict[int, dict[str, Any]]] = {}
    for cell in cells:
        metrics = cell.metrics
        assert metrics is not None
        table.setdefault(cell.row, {})[cell.seed] = metrics
    rows = {}
    for row, by_seed in table.items():
        entry: dict[str, Any] = {"seeds": {str(seed): {k: m.get(k) for k in HEADLINE} for seed, m in by_seed.items()}}
        for key in HEADLINE:
            values = [m[key] for m in by_seed.values() if m.get(key) is not None]
            if len(values) < len(by_seed):
                continue
            against = [m[key] - table[suite.baseline][seed][key] for seed, m in by_seed.items()]
            delta, half = interval(against)
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            entry[key] = {"mean": float(np.mean(values)), "std": spread, "delta": delta, "ci95": half}
        entry["seconds"] = float(np.median([m["seconds"] for m in by_seed.values()]))
        rows[row] = entry
    first = next(iter(table[suite.baseline].values()))
    return {
        "suite": suite.name,
        "baseline": suite.baseline,
        "seeds": list(suite.seeds),
        "base": suite.base,
        "runs": suite.runs,
        "dataset": first["dataset"],
        "epochs": first["epochs"],
        "protocol": first["protocol"],
        "versions": first["versions"],
        "machine": {"processor": platform.processor() or platform.machine(), "cores": _cores()},
        "device": first["device"],
        "precision": first["precision"],
        "date": time.strftime("%Y-%m-%d"),
        "config_digests": {f"{c.row}/seed{c.seed}": c.config.digest for c in cells},
        "baselines": first.get("baselines", {}),
        "rows": rows,
    }


def _cell(entry: Mapping[str, Any], key: str) -> str:
    if key not in entry:
        return "–"
    spread = entry[key]["std"]
    return f"{entry[key]['mean']:.1f}" + ("" if np.isnan(spread) else f" ± {spread:.1f}")


def _delta(entry: Mapping[str, Any], key: str) -> str:
    if key not in entry:
        return "–"
    half = entry[key]["ci95"]
    return f"{entry[key]['delta']:+.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}")


def markdown(results: Mapping[str, Any]) -> str:
    """The table with its protocol, as Markdown."""
    titles = list(HEADLINE.values())
    seeds = len(results["seeds"])
    lines = [
        f"**{results['suite']}**: {results['dataset']}, {results['epochs']} epochs, {seeds} seeds, mean ± standard "
        f"deviation, top-1 in %. Δ: paired difference to `{results['baseline']}` over the same seeds ± half of its "
        "95 % interval.",
        "",
        "| run | " + " | ".join(titles) + " | Δ 1 label | Δ 10 labels | Δ kNN | seconds |",
        "|---|" + "---|" * (len(titles) + 4),
    ]
    for row, entry in results["rows"].items():
        cells = [_cell(entry, key) for key in HEADLINE]
        cells += [
            "" if row == results["baseline"] else _delta(entry, k) for k in ("label1_top1", "label10_top1", "knn_top1")
        ]
        lines.append(f"| `{row}` | " + " | ".join(cells) + f" | {entry['seconds']:.0f} |")
    for name, scores in results["baselines"].items():
        values = ["–" if scores[k] is None else f"{scores[k]:.1f}" for k in HEADLINE]
        lines.append(f"| {name} | " + " | ".join(values) + " | | | | |")
    lines += ["", f"Protocol: {results['protocol']}."]
    return "\n".join(lines) + "\n"


def rich_table(results: Mapping[str, Any]) -> Table:
    """The same for the terminal."""
    table = Table(box=None, pad_edge=False, title=f"{results['suite']}: top-1 in %", title_justify="left")
    table.add_column("")
    for title in HEADLINE.values():
        table.add_column(title, justify="right")
    table.add_column(f"Δ 1 label to {results['baseline']}", justify="right")
    for row, entry in results["rows"].items():
        cells = [_cell(entry, key) for key in HEADLINE]
        table.add_row(row, *cells, "" if row == results["baseline"] else _delta(entry, "label1_top1"))
    return table


def plot(results: Mapping[str, Any]) -> Figure:
    """Differences to the baseline with their intervals, one panel a number."""
    rows = [row for row in results["rows"] if row != results["baseline"]]
    figure = Figure(figsize=(9, 1.4 + 0.32 * max(len(rows), 1)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, key in zip(panels, ("label1_top1", "label10_top1", "knn_top1"), strict=True):
        axes.axvline(0, color="#404040", linewidth=0.8)
        for y, row in enumerate(rows):
            entry = results["rows"][row].get(key)
            if entry is None:
                continue
            half = 0 if np.isnan(entry["ci95"]) else entry["ci95"]
            colour = "#9a9a9a" if abs(entry["delta"]) <= half else ("#1f7a3d" if entry["delta"] > 0 else "#b03a2e")
            axes.errorbar(entry["delta"], y, xerr=half, fmt="o", color=colour, capsize=3)
        axes.set_title(f"{HEADLINE[key]}: Δ to {results['baseline']}", fontsize=10)
        axes.set_xlabel("points")
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].invert_yaxis()
    return figure
