"""Charts of what each epoch changed, of one run or of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from cl_as_gnn.evaluation.scores import find_score
from cl_as_gnn.report.markup import Curve, legend, line_chart, palette, table
from cl_as_gnn.report.scores import Run

_TRAINING, _COST = ("loss", "online_knn"), ("lr", "seconds")
_EPOCH_ROWS = 50


def curves(runs: Sequence[Run]) -> str:
    """Return a chart of each numeric column of ``metrics.csv``; ``gap/train`` and ``gap/test`` share a chart."""
    several = len(runs) > 1
    charts: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for run in runs:
        for row in run.history:
            for name, text in row.items():
                try:
                    value = float(text)
                except (TypeError, ValueError):
                    continue
                if name != "epoch" and math.isfinite(value):
                    family, _, member = name.partition("/")
                    line = " · ".join([run.name] * several + [member] * bool(member)) or family
                    points = charts.setdefault(family, {}).setdefault(line, [])
                    points.append((float(row["epoch"]), value))
    if not charts:
        return "<p>No epoch has ended yet.</p>"
    others = tuple(name for name in charts if name not in _TRAINING + _COST)
    colors = palette([run.name for run in runs]) if several else {}
    html = f'{legend(colors) if several else ""}<p class="readout soft">Point at a chart: what that epoch changed.</p>'
    for heading, names in (("Training", _TRAINING), ("Graph and geometry", others), ("Schedule and cost", _COST)):
        drawn = "".join(_chart(name, charts[name], colors) for name in names if name in charts)
        if drawn:
            html += f'<h3>{heading}</h3>\n<div class="charts">{drawn}</div>\n'
    return html + "".join(_numbers(run, several) for run in runs if run.history)


def _numbers(run: Run, several: bool) -> str:
    history = run.history
    step = -(-len(history) // _EPOCH_ROWS)
    filled = [name for name in history[-1] if any(row[name] for row in history)]
    rows = [[escape(row[name] or "–") for name in filled] for row in [*history[:-1:step], history[-1]]]
    caption = "metrics.csv" if step == 1 else f"metrics.csv, every {step}th epoch and the last"
    title = f"The numbers of {escape(run.name)}" if several else "The numbers"
    return f"<details><summary>{title}</summary>{table(caption, filled, rows)}</details>"


def _chart(name: str, lines: dict[str, list[tuple[float, float]]], colors: dict[str, str]) -> str:
    score = find_score(name)
    own = lines.keys() <= colors.keys()  # the legend of the page names them
    shades = colors if own else palette(lines)
    names = legend(shades) if len(lines) > 1 and not own else ""
    last = f"<b>{next(iter(lines.values()))[-1][1]:.4g}</b>".replace("-", "−") if len(lines) == 1 and not own else ""
    drawn: dict[str, Curve] = dict(lines)
    return (
        f"<figure><figcaption><b>{escape(score.title)}</b>{last}</figcaption>"
        f'<p class="soft">{escape(score.meaning)}</p>{names}'
        f"{line_chart(score.title, drawn, shades if own or len(lines) > 1 else None)}</figure>\n"
    )
