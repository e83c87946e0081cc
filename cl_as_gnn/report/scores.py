"""Tables of scores: of one run beside its baselines, and of several runs, with what is known of their spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from cl_as_gnn.config import RunConfig
from cl_as_gnn.evaluation.scores import ELSEWHERE, Score, find_score, has_accuracies, of_run, table_rows, under_shifts
from cl_as_gnn.report.markup import code, number, table
from cl_as_gnn.runs.folder import RunFolder

Metrics = dict[str, Any]
_MEASURED = ("baselines", "online_every", "online_size", "graph_every")  # in eval, with no effect on the scores
FACTS = ("seed", "epochs", "num_views", "loss", "seconds", "images_per_second")


@dataclass(frozen=True)
class Run:
    """A run as its folder has it; ``metrics`` is empty before the end."""

    name: str
    folder: RunFolder
    config: RunConfig
    metrics: Metrics
    history: list[dict[str, str]]

    @property
    def setting(self) -> str:
        """Equal for runs that differ in nothing but the seed, where their files lie, and what else was measured."""
        tree = self.config.experiment()
        tree.pop("seed")
        for key in _MEASURED:
            tree["eval"].pop(key)
        return json.dumps(tree, sort_keys=True)


def standard_error(percent: float, count: int) -> float:
    """The standard error of a share of ``count`` samples, in per cent (Agresti and Coull, for shares near 0 or 100)."""
    share = (percent / 100 * count + 2) / (count + 4)
    return 100 * float((share * (1 - share) / (count + 4)) ** 0.5)


def _value(score: Score, value: float) -> str:
    return score.text(value).replace("-", "−")


def _spread(score: Score, spread: float | None) -> str:
    return "" if spread is None else f' <span class="spread">± {score.text(spread)}</span>'


def _cell(key: str, score: Score, value: float | None, spread: float | None = None) -> str:
    if value is None:
        return number(key, None, "")
    bar = f'<span class="bar"><span style="width:{value:.1f}%"></span></span>' if score.unit == "%" else ""
    return number(key, value, _value(score, value)) + _spread(score, spread) + bar


def _titles(scores: Mapping[str, Score]) -> list[str]:
    return [score.title + ", %" * (not score.headline and score.unit == "%") for score in scores.values()]


def scores_table(metrics: Metrics, scored: int | None, kind: str = "images") -> str:
    """Return the scores of a run and of its baselines; ``scored`` is the number of scored samples, if it is known."""
    scores = of_run(metrics)

    def spread(key: str, row: Mapping[str, Any]) -> float | None:
        if key == "linear_top1" and row.get("fold_std") is not None:
            return float(row["fold_std"])
        counted = scored is not None and key in ("knn_top1", "linear_top1") and row.get(key) is not None
        return standard_error(row[key], scored) if counted and scored else None

    rows = []
    for i, (name, row) in enumerate(table_rows(metrics)):
        prefix = f"baselines/{name}/" if i else ""
        cells = (_cell(prefix + k, score, row.get(k), spread(k, row)) for k, score in scores.items())
        rows.append([escape(name), *cells])
    missing = "" if "baselines" in metrics else " Baselines were not scored (eval.baselines=false)."
    what = "Top-1 accuracy in % on" if has_accuracies(metrics) else "What can be measured without labels on"
    said = f"{what} {metrics['dataset']}.{missing}"
    if scored is not None and has_accuracies(metrics):
        said += f" ±: standard error of a share of the {scored:,} scored {kind}"
        said += ", of the linear score the deviation over folds." if "fold_std" in metrics else "."
        said += " How seeds differ, one run cannot tell: clgnn report RUN1 RUN2 … shows several."
    return (
        table(said, ["", *_titles(scores)], rows, "scores")
        + f'<p class="soft"><b>Protocol.</b> {escape(metrics["protocol"])}.</p>'
    )


def compared_scores(runs: Sequence[Run]) -> str:
    """Return the scores of several finished runs: mean and deviation over those that differ only in the seed."""
    scores = {key: score for run in runs for key, score in of_run(run.metrics).items()}
    rows: list[list[str]] = []
    baselines: dict[str, dict[tuple[str, ...], list[str]]] = {}
    sets = by_setting(runs)
    for members in sets:
        title, several = _title(members, sets), len(members) > 1
        if several:
            rows.append([f"<b>{escape(title)}</b>", *(_mean_cell(title, s, members, ()) for s in scores.values())])
        for run in members:
            own = [_cell(f"{run.name}/{k}", score, run.metrics.get(k)) for k, score in scores.items()]
            rows.append([escape(f"{run.name}, seed {run.config.seed}" if several else title), *own])
        for name in dict.fromkeys(name for run in members for name in run.metrics.get("baselines", {})):
            scored = [run for run in members if name in run.metrics.get("baselines", {})]
            place = ("baselines", name)
            cells = [_mean_cell(title, s, scored, place) for s in scores.values()]
            same = tuple(score.text(_values(score, scored, place)[0]) for score in scores.values())
            baselines.setdefault(name, {}).setdefault(same, [title, *cells])
    for name, found in baselines.items():  # one row where all runs have the same, as of raw pixels
        for title, *cells in found.values():
            rows.append([escape(name if len(found) == 1 else f"{name} ({title})"), *cells])
    deviating = any(len(members) > 1 for members in sets)
    said = "Top-1 accuracy in %." if any(has_accuracies(run.metrics) for run in runs) else "Scores without labels."
    said += " ±: standard deviation (n − 1) over runs that differ only in the seed." if deviating else ""
    said += " No two runs differ in the seed alone: how seeds differ is not known." * (not deviating)
    return table(said, ["", *_titles(scores)], rows, "scores compared") + _protocols(runs)


def _values(score: Score, members: Sequence[Run], place: tuple[str, ...]) -> list[Any]:
    """A score of each run, or of the baseline at a ``place`` in its metrics."""
    values = []
    for run in members:
        row: Any = run.metrics
        for part in place:
            row = row[part]
        values.append(row.get(score.key))
    return values


def _mean_cell(title: str, score: Score, members: Sequence[Run], place: tuple[str, ...]) -> str:
    values = _values(score, members, place)
    if any(value is None for value in values):
        return number(score.key, None, "")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return _cell("/".join((title, *place, "mean", score.key)), score, float(np.mean(values)), spread)


def _protocols(runs: Sequence[Run]) -> str:
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(run.metrics["protocol"], []).append(run.name)
    lines = []
    for text, names in found.items():
        which = f" of {escape(', '.join(names))}" if len(found) > 1 else ""
        lines.append(f"<b>Protocol{which}.</b> {escape(text)}.")
    return f'<p class="soft">{"<br/>".join(lines)}</p>'


def by_setting(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in nothing but the seed, together."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.setting, []).append(run)
    return [sorted(members, key=lambda run: run.config.seed) for members in found.values()]


def _title(members: Sequence[Run], sets: Sequence[Sequence[Run]]) -> str:
    """A name for runs of one setting, which lists them where another set has the same method."""
    if len(members) == 1:
        return members[0].name
    method = members[0].config.method.name
    alike = sum(len(other) > 1 and other[0].config.method.name == method for other in sets)
    listed = f" ({', '.join(run.name for run in members)})" if alike > 1 else ""
    return f"{method}, {len(members)} seeds{listed}"


def elsewhere(metrics: Metrics) -> str:
    """Return tables of the scores under shifts and by transfer, of the run and of the baselines that have them."""
    shifted: list[list[str]] = []
    moved: list[list[str]] = []
    heads: list[str] = []
    for i, (name, row) in enumerate(table_rows(metrics)):
        prefix = f"baselines/{name}/" if i else ""

        def cell(key: str, row: Mapping[str, Any] = row, prefix: str = prefix) -> str:
            return number(prefix + key, row[key], find_score(key).text(row[key]))

        for probe, values in under_shifts(row).items():
            heads, keys = list(values), {"clean": f"{probe}_top1", "mean": f"shift_{probe}_top1"}
            title = f"{name}, {find_score(keys['clean']).title}"
            shifted.append([escape(title), *(cell(keys.get(key, f"shift_{key}_{probe}_top1")) for key in values)])
        if "transfer_knn_top1" in row:
            moved.append([escape(name), cell("transfer_linear_top1"), cell("transfer_knn_top1")])
    html = table("Test images under shifts, top-1 accuracy in %.", ["", *heads], shifted) if shifted else ""
    return html + (table("Transfer by new probes, top-1 accuracy in %.", ["", "linear", "kNN"], moved) if moved else "")


def geometry(runs: Sequence[Run]) -> str:
    """Return a table of all other numbers of ``metrics.json``, a column for each run."""
    known = {key for run in runs for key in of_run(run.metrics)} | {*ELSEWHERE, *FACTS}
    keys = dict.fromkeys(
        key
        for run in runs
        for key, value in run.metrics.items()
        if key not in known and isinstance(value, int | float) and not isinstance(value, bool)
    )
    several = len(runs) > 1
    rows = []
    for key in keys:
        score = find_score(key)
        cells = []
        for run in runs:
            value = run.metrics.get(key)
            name = f"{run.name}/{key}" if several else key
            cells.append(number(name, value, "" if value is None else _value(score, value)))
        rows.append([escape(score.title), *cells, escape(score.meaning)])
    heads = [run.name for run in runs] if several else ["value"]
    return table("After training.", ["quantity", *heads, "what it says"], rows, "quantities") if rows else ""


def versions(metrics: Metrics) -> str:
    """Return the versions of the packages that a run was made with."""
    rows = [[escape(name), code(str(version))] for name, version in metrics["versions"].items()]
    if "config_digest" in metrics:
        rows.append(["config digest", code(metrics["config_digest"])])
    return table("Equal digests are equal experiments.", ["package", "version"], rows)
