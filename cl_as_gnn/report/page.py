"""One self-contained HTML page of a run: scores and baselines, curves, pictures, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from cl_as_gnn.config import RunConfig, build_config, flatten, to_yaml
from cl_as_gnn.datasets import ImageData, Split, channel_stats
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.evaluation.scores import ELSEWHERE, Score, find_score, has_accuracies, of_run, table_rows, under_shifts
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report.batch_graph import batch_graph
from cl_as_gnn.report.draw import draw_graph, looks
from cl_as_gnn.report.markup import (
    code,
    figure_uri,
    legend,
    line_chart,
    number,
    palette,
    scatter,
    table,
    thumbnails,
)
from cl_as_gnn.report.neighbors import neighbors, unlabeled_neighbors
from cl_as_gnn.report.template import PAGE, STYLE
from cl_as_gnn.runs.folder import RunFolder, open_run
from cl_as_gnn.runs.load import load_encoder, load_method
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import ImageTask, scored_data
from cl_as_gnn.tasks.embed import embed
from cl_as_gnn.training.health import collapse_note

_FACTS = ("seed", "epochs", "num_views", "loss", "seconds", "images_per_second")
_TRAINING, _COST = ("loss", "online_knn"), ("lr", "seconds")
_EPOCH_ROWS = 50
_BATCH, _MAP_IMAGES, _BANK_IMAGES = 20, 1000, 10_000


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
    config, history = run.load_config(), run.read_history()
    metrics: dict[str, Any] = {}
    drawn: list[tuple[str, str]] = []
    notes = []
    if run.metrics.exists():
        metrics = run.load_metrics()
        try:
            with (console or Console(quiet=True)).status("drawing the pictures"):
                drawn = _pictures(run, config)
        except (ConfigError, RunError) as error:
            notes.append(f"No pictures: {error}")
        if metrics.get("collapsed_at") is not None:
            notes.append(collapse_note(metrics["collapsed_at"]))
    else:
        notes.append(
            f"This run has not finished: {len(history)} of {config.trainer.epochs} epochs are done, and it has no "
            f"final numbers and no pictures. Continue it with clgnn train resume={path}"
        )
    sections = [("By epoch", _curves(history)), *drawn, ("Settings", _settings(config))]
    if metrics:
        heading = "Accuracy" if has_accuracies(metrics) else "Scores without labels"
        scores = [(heading, _scores(metrics)), ("On shifted and on other images", _elsewhere(metrics))]
        sections = [*scores, ("Geometry of the features", _geometry(metrics)), *sections]
        sections.append(("Made with", _versions(metrics)))
    title = f"{config.method.name} on {config.data.name}"
    text = PAGE.substitute(
        title=escape(f"{title} · {run.path.absolute().name}"),
        style=STYLE,
        header=_header(title, config, metrics, notes),
        main="\n".join(f"<section><h2>{escape(heading)}</h2>\n{html}</section>" for heading, html in sections if html),
        footer=f"Run folder {code(str(run.path))}, reported by <code>clgnn report</code>. "
        "This page is one file and fetches nothing.",
    )
    run.write(out, text)
    return [f"{out}: {len(text.encode()) / 1000:.0f} kB", *notes]


def _header(title: str, config: RunConfig, metrics: dict[str, Any], notes: list[str]) -> str:
    method = METHODS[config.method.name]
    facts = {
        name.replace("_per_", "/").removeprefix("num_"): number(
            name, metrics[name], find_score(name).text(metrics[name])
        )
        for name in _FACTS
        if metrics.get(name) is not None
    }
    facts |= {name: escape(str(metrics[name])) for name in ("device", "precision") if name in metrics}
    items = "".join(f"<li><b>{escape(name)}</b> {value}</li>" for name, value in facts.items())
    return (
        f"<h1>{escape(title)}</h1>\n"
        + (f'<ul class="facts">{items}</ul>\n' if facts else "")
        + "".join(f'<p class="note" role="note">{escape(note)}</p>\n' for note in notes)
        + f'<p class="reading">Message passing, x′ = x + step · (A⁺x − A⁻(x) x).<br/>'
        f"<b>A⁺ attracts along</b> {escape(method.attracts)}.<br/>"
        f"<b>A⁻ repels along</b> {escape(method.repels)}.<br/>"
        f'<span class="soft">{escape(method.source)}</span></p>'
    )


def _scores(metrics: dict[str, Any]) -> str:
    scores = of_run(metrics)

    def cell(key: str, score: Score, value: float | None) -> str:
        bar = f'<span class="bar"><span style="width:{value:.1f}%"></span></span>' if value is not None else ""
        return number(key, value, score.text(value).replace("-", "−")) + (bar if score.unit == "%" else "")

    rows = []
    for i, (name, row) in enumerate(table_rows(metrics)):
        prefix = f"baselines/{name}/" if i else ""
        rows.append([escape(name), *(cell(prefix + key, score, row.get(key)) for key, score in scores.items())])
    missing = "" if "baselines" in metrics else " Baselines were not scored (eval.baselines=false)."
    what = "Top-1 accuracy in % on" if has_accuracies(metrics) else "What can be measured without labels on"
    titles = [score.title + ", %" * (not score.headline and score.unit == "%") for score in scores.values()]
    return (
        table(f"{what} {metrics['dataset']}.{missing}", ["", *titles], rows, "scores")
        + f'<p class="soft"><b>Protocol.</b> {escape(metrics["protocol"])}.</p>'
    )


def _elsewhere(metrics: dict[str, Any]) -> str:
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


def _geometry(metrics: dict[str, Any]) -> str:
    """Return a table of all other numbers of ``metrics.json``."""
    known = {*of_run(metrics), *ELSEWHERE, *_FACTS}
    values = [(find_score(k), v) for k, v in metrics.items() if k not in known and isinstance(v, int | float)]
    if not values:
        return ""
    rows = [
        [escape(score.title), number(score.key, v, score.text(v).replace("-", "−")), escape(score.meaning)]
        for score, v in values
    ]
    return table("After training.", ["quantity", "value", "what it says"], rows, "quantities")


def _curves(history: list[dict[str, str]]) -> str:
    """Return a chart of each numeric column of ``metrics.csv``; ``gap/train`` and ``gap/test`` share a chart."""
    charts: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        for name, text in row.items():
            try:
                value = float(text)
            except (TypeError, ValueError):
                continue
            if name != "epoch" and math.isfinite(value):
                family, _, member = name.partition("/")
                charts.setdefault(family, {}).setdefault(member or family, []).append((float(row["epoch"]), value))
    if not charts:
        return "<p>No epoch has ended yet.</p>"
    others = tuple(name for name in charts if name not in _TRAINING + _COST)
    html = ""
    for heading, names in (("Training", _TRAINING), ("Graph and geometry", others), ("Schedule and cost", _COST)):
        drawn = "".join(_chart(name, charts[name]) for name in names if name in charts)
        if drawn:
            html += f'<h3>{heading}</h3>\n<div class="charts">{drawn}</div>\n'
    step = -(-len(history) // _EPOCH_ROWS)
    filled = [name for name in history[-1] if any(row[name] for row in history)]
    rows = [[escape(row[name] or "–") for name in filled] for row in [*history[:-1:step], history[-1]]]
    caption = "metrics.csv" if step == 1 else f"metrics.csv, every {step}th epoch and the last"
    return html + f"<details><summary>The numbers</summary>{table(caption, filled, rows)}</details>"


def _chart(name: str, curves: dict[str, list[tuple[float, float]]]) -> str:
    score = find_score(name)
    several = len(curves) > 1
    names = legend(palette(curves)) if several else ""
    last = "" if several else f"<b>{next(iter(curves.values()))[-1][1]:.4g}</b>".replace("-", "−")
    return (
        f"<figure><figcaption><b>{escape(score.title)}</b>{last}</figcaption>"
        f'<p class="soft">{escape(score.meaning)}</p>{names}{line_chart(score.title, curves)}</figure>\n'
    )


def _settings(config: RunConfig) -> str:
    defaults = flatten(build_config({"method": {"name": config.method.name}}).model_dump(mode="json"))
    chosen = flatten(config.model_dump(mode="json", exclude={"run_dir"}))
    rows = [
        [code(key), code(value), code(defaults[key]) if key in defaults else "the data set’s recipe"]
        for key, value in chosen.items()
        if key not in defaults or value != defaults[key]
    ]
    caption = f"What differs from the defaults of {config.method.name}."
    differ = table(caption, ["setting", "value", "default"], rows) if rows else "<p>All settings are the defaults.</p>"
    every = f"<summary>All {len(chosen)} settings</summary><pre>{escape(to_yaml(config))}</pre>"
    return f"{differ}<details>{every}</details>"


def _versions(metrics: dict[str, Any]) -> str:
    rows = [[escape(name), code(str(version))] for name, version in metrics["versions"].items()]
    if "config_digest" in metrics:
        rows.append(["config digest", code(metrics["config_digest"])])
    return table("Equal digests are equal experiments.", ["package", "version"], rows)


def _pictures(run: RunFolder, config: RunConfig) -> list[tuple[str, str]]:
    """Return titles and HTML; ConfigError or RunError if the run has no readable encoder or its images are missing."""
    encoder = load_encoder(run)
    root = config.data.root
    if isinstance(root, Path) and not root.is_dir():
        # torchvision would try to download a data set that has only moved.
        raise ConfigError(f"data.root={root} does not exist: put the images back, or change data.root in {run.config}")
    data = scored_data(config, progress=False)
    # Only this picture needs the checkpoint, which a user may have removed to save space.
    sections = [("The graph of a minibatch", _graph(run, config, data))] if run.checkpoint.is_file() else []
    device = pick_device(config.trainer)
    encoder.to(device)
    stats = channel_stats(data.train)

    def unit(split: Split) -> Tensor:
        return F.normalize(embed(encoder, split.batches(data.image_size), stats, device), dim=1)

    if not (data.classes and len(data.test)):
        bank = _some(data.train, _BANK_IMAGES)
        keys = unit(bank)
        rows = torch.linspace(0, len(bank) - 1, min(_MAP_IMAGES, len(bank))).long()
        sections.append(("Map of the features", _thumbnail_map(keys[rows], bank.take(rows))))
        sections.append(("Nearest neighbors", unlabeled_neighbors(keys, bank, config)))
        return sections
    labeled = data.train.take((data.train.labels >= 0).nonzero().view(-1))
    test, bank = _some(data.test, _MAP_IMAGES), _some(labeled, _BANK_IMAGES)
    x, keys = unit(test), unit(bank)
    sections.append(("Map of the features", _map(x, test.labels, data.classes, config.eval.split)))
    sections.append(("Nearest neighbors", neighbors(x, test, keys, bank, data.classes, config)))
    return sections


def _some(split: Split, count: int) -> Split:
    """Return at most ``count`` images, evenly spread because a split may be sorted by class."""
    return split.take(torch.linspace(0, len(split) - 1, min(count, len(split))).long())


def _graph(run: RunFolder, config: RunConfig, data: ImageData) -> str:
    task = ImageTask(config, data)
    batch = batch_graph(config, task, load_method(config, task, run), _BATCH)
    dashed = " dashed across classes," if data.classes else ""
    said = (
        f"{len(batch.labels['sample'])} training images (boxes), {config.method.num_views} views of each, and the "
        f"edges that the trained method builds between them: wider for a larger weight,{dashed} with an arrow head on "
        "edges without a reverse edge."
    )
    colors = {text: color for color, text in looks(batch).values()}
    lines = "".join(f"<li>{escape(line)}</li>" for line in batch.lines())
    return (
        f'<figure>{legend(colors)}<img class="full" alt="Graph of a minibatch. {escape(said)}" '
        f'src="{figure_uri(draw_graph(batch))}"/><figcaption>{escape(said)}<ul>{lines}</ul></figcaption></figure>'
    )


def _plane(x: Tensor) -> tuple[Tensor, float]:
    """Coordinates (n × 2) on the two principal axes, and their share of the variance."""
    centered = (x - x.mean(0)).double()
    _, scale, axes = torch.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # fixes the sign of each axis
    return centered @ axes.T, float(scale[:2].square().sum() / scale.square().sum())


def _map(x: Tensor, labels: Tensor, classes: tuple[str, ...], split: str) -> str:
    points, share = _plane(x)
    said = (
        f"The two principal axes of the unit features of {len(x):,} {split} images, colored by class; "
        f"they hold {100 * share:.0f} % of the variance."
    )
    drawn = scatter(said, points.numpy(), labels.numpy(), classes)
    return f"<figure>{drawn}<figcaption>{escape(said)}</figcaption></figure>"


def _thumbnail_map(x: Tensor, images: Split) -> str:
    points, share = _plane(x)
    said = (
        f"The two principal axes of the unit features of {len(x):,} training images (dots), some of them drawn; "
        f"they hold {100 * share:.0f} % of the variance."
    )
    tiles = images.thumbnails(torch.arange(len(images)))
    drawn = thumbnails(said, points.numpy(), tiles.numpy())
    return f"<figure>{drawn}<figcaption>{escape(said)}</figcaption></figure>"
