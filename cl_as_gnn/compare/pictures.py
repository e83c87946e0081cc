"""Pictures of a suite's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cl_as_gnn.compare.results import compared
from cl_as_gnn.evaluation.scores import find_score


def differences(results: Mapping[str, Any]) -> Figure:
    """Draw differences to the baseline with their intervals, one panel per score.

    A point is green (better) or red if its interval excludes zero. One seed has no interval and stays grey.
    """
    rows = [row for row in results["rows"] if row != results["baseline"]]
    keys = compared(results)
    figure = Figure(figsize=(1 + 2.6 * len(keys), 1.4 + 0.32 * max(len(rows), 1)), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        axes.axvline(0, color="#404040", linewidth=0.8)
        for y, row in enumerate(rows):
            entry = results["rows"][row].get(key)
            if entry is None:
                continue
            delta, half = entry["delta"], entry["ci95"]
            colour = ("#1f7a3d" if find_score(key).gain(delta) > 0 else "#b03a2e") if abs(delta) > half else "#9a9a9a"
            axes.errorbar(delta, y, xerr=0 if np.isnan(half) else half, fmt="o", color=colour, capsize=3)
        axes.set_title(f"{find_score(key).title}: Δ to {results['baseline']}", fontsize=10)
        axes.set_xlabel("points")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].invert_yaxis()
    return figure


def curves(results: Mapping[str, Any]) -> Figure:
    """Draw accuracy against graph purity, mean ± standard deviation over the seeds; the baseline is a line."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), (compared(results)[0], "knn_top1"), strict=True):
        base = results["rows"][results["baseline"]].get(key)
        if base is not None:
            axes.axhline(base["mean"], color="#404040", linewidth=0.8, label=results["baseline"])
        for name, rows in results["curves"].items():
            entries = [results["rows"][row] for row in rows]
            points = [(e["graph_purity"], e[key]) for e in entries if "graph_purity" in e and key in e]
            spread = [0 if np.isnan(score["std"]) else score["std"] for _, score in points]
            x, y = [purity for purity, _ in points], [score["mean"] for _, score in points]
            axes.errorbar(x, y, yerr=spread, fmt="o-", markersize=4, capsize=3, label=name)
        axes.set_title(f"{find_score(key).title}, %", fontsize=10)
        axes.set_xlabel("purity of the graph")
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
    figure.axes[0].legend(fontsize=8)
    return figure
