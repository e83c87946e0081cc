"""Results of a suite: means, paired differences, tables, pictures."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table
from scipy import stats

from cl_as_gnn.compare.suite import Cell, Suite
from cl_as_gnn.evaluation.scores import ELSEWHERE, OF_METHODS, Score, all_scores, find_score, has_accuracies, short


def columns(known: Container[str], more: Sequence[str] = ()) -> dict[str, Score]:
    """The scores by which runs are compared that have the scores ``known``: those of the short table, those of other
    packages, and ``more``; on data without labels view agreement and effective rank in place of the accuracies."""
    foreign = {key: score for key, score in all_scores().items() if score.measure}
    table = {key: score for key, score in short(known).items() if key not in ("alignment", "uniformity")}
    return table | foreign | {key: find_score(key) for key in more}


def compared(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the scores whose differences are shown: on images few labels first, on graphs the linear probe; and those
    that the suite names."""
    known = results["rows"][results["baseline"]]
    few: tuple[str, ...] = ("label1_top1", "label10_top1") if "label10_top1" in known else ()
    rest = ("knn_top1", "linear_top1") if few else ("linear_top1", "knn_top1")
    if not has_accuracies(known):
        few, rest = (), ("view_agreement", "effective_rank")
    foreign = (key for key, score in all_scores().items() if score.measure)
    return tuple(dict.fromkeys(key for key in (*few, *rest, *foreign, *results.get("scores", ())) if key in known))


def processor() -> str:
    """Name of the processor, or of its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    base = table[suite.baseline]
    scores = columns(next(iter(base.values())), suite.scores)
    rows = {}
    for row, by_seed in table.items():
        entry: dict[str, Any] = {"seeds": {str(seed): _kept(m, scores) for seed, m in by_seed.items()}}
        for key in scores:
            pairs: list[tuple[Any, Any]] = [(m.get(key), base[seed].get(key)) for seed, m in by_seed.items()]
            if any(None in pair for pair in pairs):
                continue
            values = [value for value, _ in pairs]
            delta, half = interval([value - other for value, other in pairs])
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            entry[key] = {"mean": float(np.mean(values)), "std": spread, "delta": delta, "ci95": half}
        entry["seconds"] = float(np.median([m["seconds"] for m in by_seed.values()]))
        purities = [m["graph_purity"] for m in by_seed.values() if m.get("graph_purity") is not None]
        if purities:
            entry["graph_purity"] = float(np.mean(purities))
        entry["epochs"], entry["num_views"] = next((m["epochs"], m["num_views"]) for m in by_seed.values())
        rows[row] = entry
    first = next(iter(base.values()))
    return {
        "suite": suite.name,
        "baseline": suite.baseline,
        "seeds": list(suite.seeds),
        "budget": None if suite.budget is None else suite.budget.model_dump(),
        "base": suite.base,
        "runs": suite.runs,
        "scores": suite.scores,
        "curves": suite.curves,
        "curves_over": suite.curves_over,
        **{key: first[key] for key in ("dataset", "epochs", "protocol", "versions", "device", "precision")},
        "machine": {"processor": processor(), "cores": available_cores()},
        "date": time.strftime("%Y-%m-%d"),
        "config_digests": {f"{c.row}/seed{c.seed}": table[c.row][c.seed]["config_digest"] for c in cells},
        "baselines": first.get("baselines", {}),
        "rows": rows,
    }


def has_purity(results: Mapping[str, Any]) -> bool:
    """Whether the purity of any graph is known, which takes labels."""
    return any("graph_purity" in entry for entry in results["rows"].values())


def _kept(metrics: Mapping[str, Any], scores: Mapping[str, Score]) -> dict[str, Any]:
    return {k: metrics.get(k) for k in scores} | {k: metrics[k] for k in (*OF_METHODS, *ELSEWHERE) if k in metrics}


def _unit(known: Container[str]) -> str:
    return ", top-1 in %" if has_accuracies(known) else ", without labels (view agreement in %)"


def _cell(entry: Mapping[str, Any], score: Score, value: str = "mean", spread: str = "std") -> str:
    if score.key not in entry:
        return "–"
    found = entry[score.key]
    text = format(found[value], ("+" if value == "delta" else "") + score.format)
    return text if np.isnan(found[spread]) else f"{text} ± {score.text(found[spread])}"


def _delta(results: Mapping[str, Any], row: str, key: str) -> str:
    return "" if row == results["baseline"] else _cell(results["rows"][row], find_score(key), "delta", "ci95")


def plain(name: str) -> str:
    """A name in Markdown, whatever signs it has."""
    return re.sub(r"([\\`*\[\]<>|~&#!])", r"\\\1", " ".join(name.split()))


def markdown(results: Mapping[str, Any]) -> str:
    """The table with its protocol, as Markdown."""
    known = results["rows"][results["baseline"]]
    scores, keys = columns(known, results.get("scores", ())).values(), compared(results)
    budget, seeds = results.get("budget"), len(results["seeds"])
    if budget is None:
        work = f"{results['epochs']} epochs"
    else:
        work = f"{budget['view_epochs']} epochs × views, {budget['batch_views']} views per step"
    many, over = f"{seeds} seeds, mean ± standard deviation", " over the same seeds ± half of its 95 % interval"
    if seeds == 1:
        many, over = "one seed", ""
    pure = has_purity(results)
    titles = [*(score.title for score in scores), *(f"Δ {find_score(key).title}" for key in keys)]
    lines = [
        f"**{plain(results['suite'])}**: {plain(results['dataset'])}, {work}, {many}{_unit(known)}. Δ: paired "
        f"difference to `{results['baseline']}`{over}.",
        "",
        "| run | " + " | ".join(titles) + " | purity" * pure + " | seconds | × |",
        "|---|" + "---|" * (len(titles) + 2 + pure),
    ]
    base_seconds = results["rows"][results["baseline"]]["seconds"]
    for row, entry in results["rows"].items():
        cells = [_cell(entry, score) for score in scores] + [_delta(results, row, key) for key in keys]
        cells += [f"{entry['graph_purity']:.2f}" if "graph_purity" in entry else "–"] * pure
        cells += [f"{entry['seconds']:.0f}", f"{entry['seconds'] / base_seconds:.2f}"]
        lines.append(f"| `{row}` | " + " | ".join(cells) + " |")
    for name, row in results["baselines"].items():
        values = [score.text(row.get(score.key)) for score in scores]
        lines.append(f"| {name} | " + " | ".join(values) + " |" * (len(keys) + 3 + pure))
    lines += [
        "",
        "Purity: share within a class of the minibatch's affinity graph in the last epoch. " * pure
        + "Seconds: median wall time of a run with its evaluation, and × that of the baseline.",
        "",
        f"Protocol: {results['protocol']}.",
    ]
    return "\n".join(lines) + "\n"


def rich_table(results: Mapping[str, Any]) -> Table:
    """The same for the terminal."""
    known = results["rows"][results["baseline"]]
    title = escape(f"{results['suite']}{_unit(known)}".replace(", ", ": ", 1))
    seeds = len(results["seeds"])
    spread = f"mean ± standard deviation over {seeds} seeds; Δ: paired difference ± half of its 95 % interval"
    caption = "one seed, so no spread" if seeds == 1 else spread
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", caption=caption, caption_justify="left")
    rows, first = results["rows"].values(), compared(results)[0]
    scores = [s for s in columns(known, results.get("scores", ())).values() if any(s.key in row for row in rows)]
    table.add_column("")
    for title in (*(score.title for score in scores), f"Δ {find_score(first).title} to {results['baseline']}"):
        table.add_column(title, justify="right")
    for row, entry in results["rows"].items():
        table.add_row(row, *(_cell(entry, score) for score in scores), _delta(results, row, first))
    return table


def picture(results: Mapping[str, Any]) -> Figure:
    """Draw the scores, mean ± standard deviation with each seed as a dot, and below them the differences to the
    baseline with their 95 % intervals; one column per score.

    A difference is green (better) or red if its interval excludes zero. One seed has no interval and stays gray.
    """
    rows, keys = list(results["rows"]), compared(results)
    others = [row for row in rows if row != results["baseline"]]
    heights = [len(rows), max(len(others), 1)]
    figure = Figure(figsize=(1 + 2.6 * len(keys), 2.6 + 0.32 * sum(heights)), layout="constrained")
    above, below = figure.subplots(2, len(keys), sharey="row", squeeze=False, height_ratios=heights)
    many = len(results["seeds"]) > 1
    for axes, key in zip(above, keys, strict=True):
        _scores(axes, results, rows, key)
        score = find_score(key)
        _label(axes, score.title, "%" if score.unit else "", grid="x")
    for axes, key in zip(below, keys, strict=True):
        _differences(axes, results, others, key)
        title = f"{find_score(key).title}: Δ to {results['baseline']}"
        _label(axes, title, "points" if find_score(key).unit else "", grid="x")
    for first, names in ((above[0], rows), (below[0], others)):
        first.set_yticks(range(len(names)), names)
        first.set_ylim(max(len(names), 1) - 0.5, -0.5)
    about = "scores: mean ± standard deviation, a dot per seed; Δ: paired difference ± half of its 95 % interval"
    figure.supxlabel(about if many else "one seed: no spread", fontsize=8)
    return figure


def _scores(axes: Axes, results: Mapping[str, Any], rows: Sequence[str], key: str) -> None:
    for y, row in enumerate(rows):
        entry = results["rows"][row]
        if key not in entry:
            continue
        found = entry[key]
        each = [value for seed in entry["seeds"].values() if (value := seed.get(key)) is not None]
        axes.plot(each, [y] * len(each), "o", color="#b8c4d0", markersize=3)
        spread = 0 if np.isnan(found["std"]) else found["std"]
        axes.errorbar(found["mean"], y, xerr=spread, fmt="o", color="#2a5d8a", capsize=3, markersize=5)
    axes.locator_params(axis="x", nbins=5)


def _differences(axes: Axes, results: Mapping[str, Any], rows: Sequence[str], key: str) -> None:
    axes.axvline(0, color="#404040", linewidth=0.8)
    for y, row in enumerate(rows):
        entry = results["rows"][row].get(key)
        if entry is None:
            continue
        delta, half = entry["delta"], entry["ci95"]
        color = ("#1f7a3d" if find_score(key).gain(delta) > 0 else "#b03a2e") if abs(delta) > half else "#9a9a9a"
        axes.errorbar(delta, y, xerr=0 if np.isnan(half) else half, fmt="o", color=color, capsize=3)
    axes.locator_params(axis="x", nbins=5)


def curves(results: Mapping[str, Any]) -> Figure:
    """Draw accuracy against graph purity or another score, mean ± standard deviation over the seeds; the baseline is a
    line."""
    over = results.get("curves_over", "graph_purity")
    figure = Figure(figsize=(9, 4), layout="constrained")
    first, xlabel = compared(results)[0], "purity of the graph"
    if over != "graph_purity":
        first, xlabel = "linear_top1", find_score(over).title
    for axes, key in zip(figure.subplots(1, 2), (first, "knn_top1"), strict=True):
        base = results["rows"][results["baseline"]].get(key)
        if base is not None:
            axes.axhline(base["mean"], color="#404040", linewidth=0.8, label=results["baseline"])
        for name, rows in results["curves"].items():
            entries = [results["rows"][row] for row in rows]
            found = [(e[over], e[key]) for e in entries if over in e and key in e]
            points = [(x["mean"] if isinstance(x, Mapping) else x, y) for x, y in found]
            spread = [0 if np.isnan(score["std"]) else score["std"] for _, score in points]
            x, y = [purity for purity, _ in points], [score["mean"] for _, score in points]
            axes.errorbar(x, y, yerr=spread, fmt="o-", markersize=4, capsize=3, label=name)
        _label(axes, f"{find_score(key).title}, %", xlabel, grid="both")
    figure.axes[0].legend(fontsize=8)
    return figure


def _label(axes: Axes, title: str, xlabel: str, grid: Literal["x", "both"]) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    axes.grid(axis=grid, color="#dddddd")
    axes.set_axisbelow(True)
