"""Results of a suite: means, paired differences, tables."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats

from cl_as_gnn.compare.suite import Cell, Suite
from cl_as_gnn.evaluation.scores import Score, all_scores, find_score


def columns() -> dict[str, Score]:
    """The scores that runs are compared by: those of the short table and those of other packages."""
    return {key: score for key, score in all_scores().items() if score.headline or score.measure}


def compared(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the scores whose differences are shown: on images few labels first, on graphs the linear probe."""
    known = results["rows"][results["baseline"]]
    few = ("label1_top1", "label10_top1") if "label10_top1" in known else ()
    rest = ("knn_top1", "linear_top1") if few else ("linear_top1", "knn_top1")
    foreign = (key for key, score in columns().items() if score.measure)
    return tuple(key for key in (*few, *rest, *foreign) if key in known)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of paired differences and the half-width of its 95 % interval (Student's t; NaN for one pair)."""
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def summarize(suite: Suite, cells: Sequence[Cell]) -> dict[str, Any]:
    """Compute mean, standard deviation (n − 1) and paired differences to the baseline over the same seeds."""
    table: dict[str, dict[int, dict[str, Any]]] = {}
    for cell in cells:
        metrics = cell.metrics
        assert metrics is not None
        table.setdefault(cell.row, {})[cell.seed] = metrics
    rows = {}
    for row, by_seed in table.items():
        entry: dict[str, Any] = {"seeds": {str(seed): {k: m.get(k) for k in columns()} for seed, m in by_seed.items()}}
        for key in columns():
            base = table[suite.baseline]
            pairs: list[tuple[Any, Any]] = [(m.get(key), base[seed].get(key)) for seed, m in by_seed.items()]
            if any(None in pair for pair in pairs):
                continue
            values, against = [value for value, _ in pairs], [value - other for value, other in pairs]
            delta, half = interval(against)
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            entry[key] = {"mean": float(np.mean(values)), "std": spread, "delta": delta, "ci95": half}
        entry["seconds"] = float(np.median([m["seconds"] for m in by_seed.values()]))
        purities = [m["graph_purity"] for m in by_seed.values() if m.get("graph_purity") is not None]
        if purities:
            entry["graph_purity"] = float(np.mean(purities))
        entry["epochs"], entry["num_views"] = next((m["epochs"], m["num_views"]) for m in by_seed.values())
        rows[row] = entry
    first = next(iter(table[suite.baseline].values()))
    return {
        "suite": suite.name,
        "baseline": suite.baseline,
        "seeds": list(suite.seeds),
        "budget": None if suite.budget is None else suite.budget.model_dump(),
        "base": suite.base,
        "runs": suite.runs,
        "curves": suite.curves,
        "dataset": first["dataset"],
        "epochs": first["epochs"],
        "protocol": first["protocol"],
        "versions": first["versions"],
        "machine": {"processor": platform.processor() or platform.machine(), "cores": available_cores()},
        "device": first["device"],
        "precision": first["precision"],
        "date": time.strftime("%Y-%m-%d"),
        "config_digests": {f"{c.row}/seed{c.seed}": c.config.digest for c in cells},
        "baselines": first.get("baselines", {}),
        "rows": rows,
    }


def _cell(entry: Mapping[str, Any], score: Score, value: str = "mean", spread: str = "std") -> str:
    if score.key not in entry:
        return "–"
    found = entry[score.key]
    text = format(found[value], ("+" if value == "delta" else "") + score.format)
    return text if np.isnan(found[spread]) else f"{text} ± {score.text(found[spread])}"


def _delta(entry: Mapping[str, Any], key: str) -> str:
    return _cell(entry, find_score(key), "delta", "ci95")


def work(results: Mapping[str, Any]) -> str:
    """The budget in words."""
    budget = results.get("budget")
    if budget is None:
        return f"{results['epochs']} epochs"
    return f"{budget['view_epochs']} epochs × views, {budget['batch_views']} views per step"


def markdown(results: Mapping[str, Any]) -> str:
    """The table with its protocol, as Markdown."""
    scores = columns().values()
    titles = [score.title for score in scores]
    seeds = len(results["seeds"])
    base_seconds = results["rows"][results["baseline"]]["seconds"]
    keys = compared(results)
    many, over = f"{seeds} seeds, mean ± standard deviation", " over the same seeds ± half of its 95 % interval"
    if seeds == 1:
        many, over = "one seed", ""
    lines = [
        f"**{results['suite']}**: {results['dataset']}, {work(results)}, {many}, top-1 in %. Δ: paired difference to "
        f"`{results['baseline']}`{over}.",
        "",
        "| run | " + " | ".join([*titles, *(f"Δ {find_score(k).title}" for k in keys)]) + " | purity | seconds | × |",
        "|---|" + "---|" * (len(titles) + len(keys) + 3),
    ]
    for row, entry in results["rows"].items():
        cells = [_cell(entry, score) for score in scores]
        cells += ["" if row == results["baseline"] else _delta(entry, key) for key in keys]
        cells.append(f"{entry['graph_purity']:.2f}" if "graph_purity" in entry else "–")
        cells += [f"{entry['seconds']:.0f}", f"{entry['seconds'] / base_seconds:.2f}"]
        lines.append(f"| `{row}` | " + " | ".join(cells) + " |")
    for name, row in results["baselines"].items():
        values = [score.text(row.get(score.key)) for score in scores]
        lines.append(f"| {name} | " + " | ".join(values) + " |" * (len(keys) + 4))
    lines += [
        "",
        "Purity: share within a class of the minibatch's affinity graph in the last epoch. Seconds: median wall time "
        "of a run with its evaluation, and × that of the baseline.",
        "",
        f"Protocol: {results['protocol']}.",
    ]
    return "\n".join(lines) + "\n"


def rich_table(results: Mapping[str, Any]) -> Table:
    """The same for the terminal."""
    table = Table(box=None, pad_edge=False, title=f"{results['suite']}: top-1 in %", title_justify="left")
    table.add_column("")
    scores = columns().values()
    for score in scores:
        table.add_column(score.title, justify="right")
    first = compared(results)[0]
    table.add_column(f"Δ {find_score(first).title} to {results['baseline']}", justify="right")
    for row, entry in results["rows"].items():
        cells = [_cell(entry, score) for score in scores]
        table.add_row(row, *cells, "" if row == results["baseline"] else _delta(entry, first))
    return table
