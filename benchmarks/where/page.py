"""What the runs show: the results file, its tables and the picture."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common import machine
from benchmarks.common.page import Block
from benchmarks.common.provenance import processor, software
from benchmarks.common.store import RESULTS, read, write
from benchmarks.common.table import difference, fixed, markdown, spread
from benchmarks.where.runs import SETS, SUITE, overrides
from cl_as_gnn.compare import interval, load_suite
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation.scores import find_score

SPLITS = ("validation", "test")
SCORES = ("knn_top1", "linear_top1", "label1_top1", "label10_top1", "propagated1_top1", "propagated10_top1")
_MORE = ("effective_rank", "graph_agreement", "graph_purity", "seconds")
HOSTS = dict.fromkeys(("gcn", "gcn_all", "gcn_bank", "wcl", "gat"), "simclr") | {"jk": "simsiam"}
"""What each method is compared to: itself without the graph."""
_COLORS = {"gcn": "#2a5d8a", "gcn_all": "#c77d1e"}
_MADE = ("date", "versions", "machine")
_TOLERANCE = 0.5
# Points of a panel that are as near share one text: in units of its horizontal axis, and as a share of its height.
_NEAR, _LEVEL = 0.12, 0.1
Pairs = list[tuple[float, float]]
_Point = tuple[float, float, str]


def collect(sets: Path, out: Path, split: str) -> dict[str, Any]:
    """The scores of all runs below ``out`` that have finished, by data set, row and seed."""
    found: dict[str, Any] = {}
    for name in SETS:
        folder = out / split / name
        if not folder.is_dir():
            continue
        suite, cells = load_suite(SUITE, overrides(name, sets, split), folder)
        rows: dict[str, dict[str, Any]] = {}
        for cell in cells:
            metrics = cell.metrics
            if metrics is None:
                continue
            kept = {key: metrics[key] for key in (*SCORES, *_MORE) if metrics.get(key) is not None}
            rows.setdefault(cell.row, {})[str(cell.seed)] = kept
            if cell.row == suite.baseline:
                found[name] = {"protocol": metrics["protocol"], "epochs": metrics["epochs"], "rows": rows}
    device = machine.describe(torch.device("cpu"))
    del device["load"]
    made = {"date": time.strftime("%Y-%m-%d"), "versions": machine.versions(), "machine": device}
    return {"split": split, **made, "sets": found}


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Two results of :func:`collect`: runs of ``new`` are added, or replace those with their row and seed.

    Raises:
        ConfigError: a data set was scored by another protocol, or trained for another time.
    """
    sets = copy.deepcopy(dict(known["sets"]))
    for name, about in new["sets"].items():
        old = sets.setdefault(name, {**about, "rows": {}})
        for key in ("protocol", "epochs"):
            if old[key] != about[key]:
                raise ConfigError(f"{name} has {key} {old[key]!r} in the results file, and {about[key]!r} in the runs")
        for row, seeds in about["rows"].items():
            old["rows"].setdefault(row, {}).update(seeds)
    now = {key: new[key] for key in _MADE}
    earlier = [made for made in ({key: known[key] for key in _MADE}, *known.get("earlier", ())) if made != now]
    return {**new, "sets": sets, "earlier": earlier}


def pairs(rows: Mapping[str, Any], row: str, key: str) -> Pairs:
    """Values of a run and of its host with the same seeds, where both have the score."""
    base = rows.get(HOSTS.get(row, "simclr"), {})
    both = ((found, base[seed]) for seed, found in rows.get(row, {}).items() if seed in base)
    return [(found[key], other[key]) for found, other in both if key in found and key in other]


def gain(rows: Mapping[str, Any], row: str, key: str) -> tuple[float, float] | None:
    """Mean difference to the host over the seeds, and half of its 95 % interval."""
    found = pairs(rows, row, key)
    return interval([value - other for value, other in found]) if found else None


def _average(rows: Mapping[str, Any], row: str, key: str) -> float | None:
    values = [seed[key] for seed in rows.get(row, {}).values() if key in seed]
    return mean(values) if values else None


def _gains(content: Mapping[str, Any], row: str) -> str:
    host = HOSTS.get(row, "simclr")
    head = ["data", "n", *(f"Δ {find_score(key).title}" for key in SCORES), "agreement", "purity"]
    lines = []
    for name, about in content["sets"].items():
        rows = about["rows"]
        if count := len(pairs(rows, row, "knn_top1")):
            graph = [fixed(_average(rows, host, key), 2) for key in ("graph_agreement", "graph_purity")]
            lines.append([SETS[name].title, str(count), *(difference(gain(rows, row, key)) for key in SCORES), *graph])
    if not lines:
        return f"**`{row}` − `{host}`**: no run has finished yet.\n\n"
    return f"**`{row}` − `{host}`**\n\n{markdown(head, lines)}\n"


def _levels(content: Mapping[str, Any], row: str) -> str:
    head = [f"`{row}`", *(find_score(key).title for key in SCORES), "epochs", "seconds"]
    lines = []
    for name, about in content["sets"].items():
        if seeds := about["rows"].get(row):
            scores = [spread([seed[key] for seed in seeds.values() if key in seed]) for key in SCORES]
            seconds = fixed(median(seed["seconds"] for seed in seeds.values()), 0)
            lines.append([SETS[name].title, *scores, str(about["epochs"]), seconds])
    return markdown(head, lines) + "\n" if lines else ""


def broken(content: Mapping[str, Any], row: str) -> list[str]:
    """Where a row is more than half a point below its host in the mean, in words."""
    found = []
    for name, about in content["sets"].items():
        for key in SCORES:
            delta = gain(about["rows"], row, key)
            if delta is not None and delta[0] < -_TOLERANCE:
                found.append(f"{SETS[name].title} {find_score(key).title} {difference(delta)}")
    return found


def tables(split: str, folder: Path = RESULTS) -> str:
    """Differences of every method to its host on every data set, the levels of the hosts, and the picture."""
    path = folder / f"where_it_pays_{split}.json"
    if not path.is_file():
        return f"No results are checked in: run `python -m benchmarks.where run SETS --split {split}`.\n"
    content = read(path)
    named = {row: None for about in content["sets"].values() for row in about["rows"]}
    tried = [row for row in named if row not in HOSTS and row not in HOSTS.values()]
    parts = [
        *(_gains(content, row) for row in (*HOSTS, *tried)),
        *(_levels(content, row) for row in ("simclr", "simsiam")),
        *(
            f"`{row}` more than {_TOLERANCE:g} points below `simclr` in the mean: "
            f"{'; '.join(broken(content, row)) or 'nowhere'}.\n\n"
            for row in ("gcn", "gcn_all")
        ),
        f"Scored on the {content['split']} samples; one thread on a machine that ran other jobs "
        f"({'; '.join(_made(made) for made in (content, *content.get('earlier', ())))}). Every number by seed is in "
        f"[benchmarks/results/{path.name}](../benchmarks/results/{path.name}).\n\n",
        f"![Gain of gcn against agreement and purity](../benchmarks/results/{path.stem}.png)\n",
    ]
    return "".join(parts)


def _made(about: Mapping[str, Any]) -> str:
    return f"{about['date']}, {software(about)}, {processor(about)}"


def picture(content: Mapping[str, Any]) -> Figure:
    """Draw the gains of ``gcn`` against what is known of the graph of ``simclr``: its agreement, which takes no labels,
    and its purity, which does."""
    keys = ("label1_top1", "label10_top1", "knn_top1", "linear_top1")
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    axes = figure.subplots(2, len(keys), sharey="col", sharex="row")
    overs = (("graph_agreement", "agreement of views"), ("graph_purity", "purity of edges"))
    for line, (over, title) in zip(axes, overs, strict=True):
        for one, key in zip(line, keys, strict=True):
            one.axhline(0, color="#404040", linewidth=0.8)
            drawn = {row: _points(one, content, row, over, key, color) for row, color in _COLORS.items()}
            _names(one, drawn["gcn"])
            one.set_title(f"{find_score(key).title}: Δ to simclr, points", fontsize=9)
            one.set_xlabel(title)
            one.grid(color="#dddddd")
            one.set_axisbelow(True)
            one.margins(x=0.25)
    for row, color in _COLORS.items():
        axes[0, 0].plot([], [], "o", color=color, label=row)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel(
        "± half of the 95 % interval; a point without a bar is one seed, or has the same difference in all", fontsize=8
    )
    return figure


def _points(axes: Axes, content: Mapping[str, Any], row: str, over: str, key: str, color: str) -> list[_Point]:
    """Draw the gains of one row, and return them from left to right."""
    points: list[_Point] = []
    about = {name: (_average(found["rows"], "simclr", over), found) for name, found in content["sets"].items()}
    for name, (at, found) in sorted(about.items(), key=lambda item: item[1][0] or 0):
        difference = gain(found["rows"], row, key)
        if at is None or difference is None:
            continue
        delta, half = difference
        axes.errorbar(at, delta, yerr=0 if half != half else half, fmt="o", color=color, capsize=3, markersize=4)
        points.append((at, delta, SETS[name].title))
    return points


def _names(axes: Axes, points: Sequence[_Point]) -> None:
    """Name the points, which come from left to right; all that the panel holds must be drawn already."""
    bottom, top = axes.get_ylim()
    named: list[tuple[float, float, list[str]]] = []
    for at, delta, title in points:
        if named and at - named[-1][0] < _NEAR and abs(delta - named[-1][1]) < _LEVEL * (top - bottom):
            named[-1][2].insert(0, title)  # the names of points that lie together, from right to left
        else:
            named.append((at, delta, [title]))
    for at, delta, titles in named:
        axes.annotate("\n".join(titles), (at, delta), textcoords="offset points", xytext=(2, 4), fontsize=7)


def publish(sets: Path, out: Path, split: str) -> None:
    """Write the results file of a split and its picture from the runs below ``out`` and the runs that it holds."""
    content = collect(sets, out, split)
    path = RESULTS / f"where_it_pays_{split}.json"
    if path.is_file():
        content = merged(read(path), content)
    write(path, content)
    picture(content).savefig(path.with_suffix(".png"), dpi=120)


def _sources() -> str:
    return markdown(["data", "from"], [[about.title, about.source] for about in SETS.values()], left=2)


def blocks() -> dict[str, Block]:
    """The blocks of ``docs/where_it_pays.md``."""
    return {"where_sets": _sources, **{f"where_{split}": partial(tables, split) for split in SPLITS}}
