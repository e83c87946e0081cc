"""One self-contained HTML page of a run: scores and baselines, curves, pictures, settings."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from cl_as_gnn.config import RunConfig, build_config, flatten, to_yaml
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.evaluation.scores import Score, find_score, headline, table_rows
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report.charts import Curve, legend, line_chart
from cl_as_gnn.report.markup import colour, number, setting, table
from cl_as_gnn.report.pictures import pictures
from cl_as_gnn.report.template import PAGE, STYLE
from cl_as_gnn.runs.folder import RunFolder, open_run

_FACTS = ("seed", "epochs", "loss", "seconds", "images_per_second")
_GROUPS = {"Training": ("loss", "online_knn"), "Schedule and cost": ("lr", "seconds")}
_EPOCH_ROWS = 50


def write_report(path: Path, out: Path | None = None, console: Console | None = None) -> list[str]:
    """Write the page of a run and return the lines to print.

    The page of an unfinished run has curves and settings only; the page of a run whose images or encoder cannot be
    read has no pictures. A note on the page gives the reason.

    Args:
        path: a run folder.
        out: path of an ``.html`` file, by default ``report.html`` in the run folder.
        console: console for progress, by default quiet.

    Raises:
        ConfigError: ``path`` is not a run folder, or ``out`` is not an HTML file in an existing folder.
        RunError: the page cannot be written.
    """
    run = open_run(path)
    out = out or run.path / "report.html"
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: a report is a web page, name the file {out.with_suffix('.html').name}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist, create it first")
    config = run.load_config()
    notes = []
    finished = run.metrics.is_file()
    metrics = run.load_metrics() if finished else {}
    history = run.read_history()
    if not finished:
        notes.append(
            f"This run has not finished: {len(history)} of {config.trainer.epochs} epochs are done, and it has no "
            f"final numbers and no pictures. Continue it with clgnn train resume={path}"
        )
    drawn: list[tuple[str, str]] = []
    if finished:
        try:
            with (console or Console(quiet=True)).status("drawing the pictures"):
                drawn = pictures(run, config)
        except (ConfigError, RunError) as error:
            notes.append(f"No pictures: {error}")
    text = page(run, config, metrics, history, drawn, notes)
    run.write(out, text)
    return [f"{out}: {len(text.encode()) / 1000:.0f} kB", *notes]


def page(
    run: RunFolder,
    config: RunConfig,
    metrics: dict[str, Any],
    history: list[dict[str, str]],
    drawn: list[tuple[str, str]],
    notes: list[str],
) -> str:
    """Return the page. ``metrics`` is empty for an unfinished run; ``drawn`` holds titles and HTML of the pictures."""
    sections = [
        ("Accuracy", _scores(metrics)),
        ("Geometry of the features", _geometry(metrics)),
        ("By epoch", _curves(history)),
        *drawn,
        ("Settings", _settings(config)),
        ("Made with", _versions(metrics)),
    ]
    title = f"{config.method.name} on {config.data.name}"
    return PAGE.substitute(
        title=escape(f"{title} · {run.path.absolute().name}"),
        style=STYLE,
        header=_header(title, config, metrics, notes),
        main="\n".join(f"<section><h2>{escape(heading)}</h2>\n{html}</section>" for heading, html in sections if html),
        footer=f"Run folder <code>{escape(str(run.path))}</code>, reported by <code>clgnn report</code>. "
        "This page is one file and fetches nothing.",
    )


def _header(title: str, config: RunConfig, metrics: dict[str, Any], notes: list[str]) -> str:
    method = METHODS[config.method.name]
    facts = [f"<b>{escape(k)}</b> {v}" for k, v in _facts(metrics).items()]
    return (
        f"<h1>{escape(title)}</h1>\n"
        + (f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>\n' if facts else "")
        + "".join(f'<p class="note" role="note">{escape(note)}</p>\n' for note in notes)
        + f'<p class="reading">Message passing, x′ = x + step · (A⁺x − A⁻(x) x).<br/>'
        f"<b>A⁺ attracts along</b> {escape(method.attracts)}.<br/>"
        f"<b>A⁻ repels along</b> {escape(method.repels)}.<br/>"
        f'<span class="soft">{escape(method.source)}</span></p>'
    )


def _facts(metrics: dict[str, Any]) -> dict[str, str]:
    """Return the facts of the run's first line as HTML."""
    facts = {
        name.replace("_per_", "/"): number(name, metrics[name], find_score(name).text(metrics[name]))
        for name in _FACTS
        if metrics.get(name) is not None
    }
    facts |= {name: escape(str(metrics[name])) for name in ("device", "precision") if name in metrics}
    return facts


def _scores(metrics: dict[str, Any]) -> str:
    if not metrics:
        return ""

    scores = headline()

    def cell(key: str, score: Score, value: float | None) -> str:
        share = value is not None and score.unit == "%"
        bar = f'<span class="bar"><span style="width:{value:.1f}%"></span></span>' if share else ""
        return number(key, value, score.text(value)) + bar

    rows = []
    for i, (name, row) in enumerate(table_rows(metrics)):
        prefix = f"baselines/{name}/" if i else ""
        rows.append([escape(name), *(cell(prefix + key, score, row.get(key)) for key, score in scores.items())])
    missing = "" if "baselines" in metrics else " Baselines were not scored (eval.baselines=false)."
    caption = f"Top-1 accuracy in % on {metrics['dataset']}.{missing}"
    return (
        table(caption, ["", *(score.title for score in scores.values())], rows, "scores")
        + f'<p class="soft"><b>Protocol.</b> {escape(metrics["protocol"])}.</p>'
    )


def _geometry(metrics: dict[str, Any]) -> str:
    """Return a table of all other numbers of ``metrics.json``."""
    known = {*headline(), *_FACTS}
    values = {k: v for k, v in metrics.items() if k not in known and isinstance(v, int | float)}
    if not values:
        return ""
    rows = [
        [escape(score.title), number(score.key, v, score.text(v).replace("-", "−")), escape(score.meaning)]
        for score, v in ((find_score(k), v) for k, v in values.items())
    ]
    return table("After training.", ["quantity", "value", "what it says"], rows, "quantities")


def read_curves(history: list[dict[str, str]]) -> dict[str, Curve]:
    """Return the numeric columns of ``metrics.csv`` as ``[(epoch, value), …]``, finite values only."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in history:
        for name, text in row.items():
            try:
                value = float(text)
            except (TypeError, ValueError):
                continue
            if name != "epoch" and math.isfinite(value):
                curves.setdefault(name, []).append((float(row["epoch"]), value))
    return dict(curves)


def _curves(history: list[dict[str, str]]) -> str:
    curves = read_curves(history)
    if not curves:
        return "<p>No epoch has ended yet.</p>"
    charts: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.items():
        family, _, member = name.partition("/")  # gap/train and gap/test share a chart
        charts.setdefault(family, {})[member or family] = curve
    placed = {name for names in _GROUPS.values() for name in names}
    groups = {**_GROUPS, "Graph and geometry": tuple(name for name in charts if name not in placed)}
    html = ""
    for heading in ("Training", "Graph and geometry", "Schedule and cost"):
        drawn = [_chart(name, charts[name]) for name in groups[heading] if name in charts]
        if drawn:
            html += f'<h3>{heading}</h3>\n<div class="charts">{"".join(drawn)}</div>\n'
    columns = list(history[-1])
    step = -(-len(history) // _EPOCH_ROWS)
    shown = [*history[:-1:step], history[-1]]
    rows = [[escape(row.get(name) or "–") for name in columns] for row in shown]
    caption = "metrics.csv" if step == 1 else f"metrics.csv, every {step}th epoch and the last"
    return html + f"<details><summary>The numbers</summary>{table(caption, columns, rows)}</details>"


def _chart(name: str, curves: dict[str, Curve]) -> str:
    title, meaning = find_score(name).title, find_score(name).meaning
    several = len(curves) > 1
    names = legend({member: colour(i, len(curves)) for i, member in enumerate(curves)}) if several else ""
    last = "" if several else f"<b>{next(iter(curves.values()))[-1][1]:.4g}</b>".replace("-", "−")
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{last}</figcaption>"
        f'<p class="soft">{escape(meaning)}</p>{names}{line_chart(title, curves)}</figure>\n'
    )


def _settings(config: RunConfig) -> str:
    defaults = flatten(build_config({"method": {"name": config.method.name}}).model_dump(mode="json"))
    chosen = flatten(config.model_dump(mode="json", exclude={"run_dir"}))
    differ = [
        [f"<code>{escape(key)}</code>", f"<code>{setting(value)}</code>", f"<code>{setting(defaults[key])}</code>"]
        if key in defaults
        else [f"<code>{escape(key)}</code>", f"<code>{setting(value)}</code>", "the data set’s recipe"]
        for key, value in chosen.items()
        if key not in defaults or value != defaults[key]
    ]
    caption = f"What differs from the defaults of {config.method.name}."
    return (
        table(caption, ["setting", "value", "default"], differ) if differ else "<p>All settings are the defaults.</p>"
    ) + f"<details><summary>All {len(chosen)} settings</summary><pre>{escape(to_yaml(config))}</pre></details>"


def _versions(metrics: dict[str, Any]) -> str:
    if not metrics:
        return ""
    rows = [[escape(name), f"<code>{escape(str(version))}</code>"] for name, version in metrics["versions"].items()]
    if "config_digest" in metrics:
        rows.append(["config digest", f"<code>{escape(metrics['config_digest'])}</code>"])
    return table("Equal digests are equal experiments.", ["package", "version"], rows)
