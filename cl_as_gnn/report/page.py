"""One self-contained HTML page of a run, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.console import Console

from cl_as_gnn.errors import ConfigError, RunError, quoted
from cl_as_gnn.evaluation.scores import find_score, has_accuracies
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report.curves import curves
from cl_as_gnn.report.map import feature_map, groups
from cl_as_gnn.report.markup import code, number
from cl_as_gnn.report.minibatch import minibatch
from cl_as_gnn.report.mistakes import confusion, worst
from cl_as_gnn.report.neighbors import neighbors
from cl_as_gnn.report.plane import Plane, check_plane
from cl_as_gnn.report.scores import FACTS, Run, compared_scores, elsewhere, geometry, scores_table, versions
from cl_as_gnn.report.settings import differing, settings
from cl_as_gnn.report.shown import Shown, shown
from cl_as_gnn.report.template import SCRIPTS, page
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.training.health import collapse_note

_MAPS = 6
Sections = list[tuple[str, str]]


def write_report(
    runs: Path | Sequence[Path], out: Path | None = None, console: Console | None = None, plane: Plane = "auto"
) -> list[str]:
    """Write the page of a run, or of several side by side, and return the lines to print.

    The page of an unfinished run has curves and settings only; the page of a run whose data or encoder cannot be read
    has no pictures. A note on the page gives the reason.

    Args:
        runs: a run folder, or several.
        out: path of an ``.html`` file, by default ``report.html`` in the run folder; of several runs ``report.html`` in
            the working directory.
        console: console for progress, by default quiet.
        plane: how features become the map: ``umap``, ``tsne``, ``pca``, or ``auto`` for the first that is installed.

    Raises:
        ConfigError: one of ``runs`` is not a run folder, or is named twice, ``out`` is not an HTML file in an existing
            folder, or ``plane`` is not known or not installed.
        RunError: the page cannot be written.
    """
    paths = [runs] if isinstance(runs, Path) else list(runs)
    if repeated := [path for n, path in enumerate(paths) if path.resolve() in {p.resolve() for p in paths[:n]}]:
        raise ConfigError(f"{repeated[0]} is named twice: name each run once")
    check_plane(plane)
    folders = [open_run(path) for path in paths]
    out = out or (folders[0].path / "report.html" if len(folders) == 1 else Path("report.html"))
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: a report is a web page, name the file {out.with_suffix('.html').name}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist, create it first")
    read = [
        Run(name, run, run.load_config(), run.load_metrics() if run.metrics.exists() else {}, run.read_history())
        for name, run in zip(_names(paths), folders, strict=True)
    ]
    with (console or Console(quiet=True)).status("drawing the pictures"):
        title, header, sections, notes = _one(read[0], plane) if len(read) == 1 else _several(read, plane)
    told = "".join(f'<p class="note" role="note">{escape(note)}</p>\n' for note in notes)
    where = ", ".join(code(str(run.folder.path)) for run in read)
    text = page(
        escape(f"{title} · {', '.join(run.folder.path.absolute().name for run in read)}"),
        '<button type="button" class="theme" hidden="hidden" aria-label="light or dark">◐</button>'
        f"<h1>{escape(title)}</h1>\n{header}{told}",
        "\n".join(f"<section><h2>{escape(heading)}</h2>\n{html}</section>" for heading, html in sections if html),
        f"{where}, reported by <code>clgnn report</code>. This page is one file and fetches nothing.",
        SCRIPTS,
    )
    folders[0].write(out, text)
    return [f"{out}: {len(text.encode()) / 1000:,.0f} kB", *notes]


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _unfinished(run: Run) -> str:
    return (
        f"{run.folder.path} has not finished: {len(run.history)} of {run.config.trainer.epochs} epochs are done, and "
        f"it has no final numbers and no pictures. Continue it with clgnn train resume={quoted(run.folder.path)}"
    )


def _shown(run: Run, notes: list[str]) -> Shown | None:
    """What a finished run shows; ``None``, with a note, if its encoder or its data cannot be read."""
    try:
        return shown(run.folder)
    except (ConfigError, RunError) as error:
        notes.append(f"No pictures: {error}")
        return None


def _one(run: Run, plane: Plane) -> tuple[str, str, Sections, list[str]]:
    metrics, notes = run.metrics, list[str]()
    title = f"{run.config.method.name} on {run.config.data.name}"
    if not metrics:
        notes.append(_unfinished(run))
        return title, _facts(run), [("By epoch", curves([run])), ("Settings", settings(run.config))], notes
    one = _shown(run, notes)
    if metrics.get("collapsed_at") is not None:
        notes.append(collapse_note(metrics["collapsed_at"]))
    scored, kind = (one.scored, one.kind) if one else (None, "images")
    heading = "Accuracy" if has_accuracies(metrics) else "Scores without labels"
    sections = [(heading, scores_table(metrics, scored, kind)), ("On shifted and on other images", elsewhere(metrics))]
    if one:
        sections.append(("Map of the features", feature_map({run.name: one}, plane)))
        if one.classes:
            sections += [("Confusion", confusion(one)), ("The surest errors", worst(one))]
    sections.append(("By epoch", curves([run])))
    if one:
        sections += [
            ("Message passing", _reading(run) + minibatch(run, one.task)),
            ("Nearest neighbors", neighbors(one)),
        ]
    else:
        sections.append(("Message passing", _reading(run)))
    sections += [("Geometry of the features", geometry([run])), ("Settings", settings(run.config))]
    return title, _facts(run), [*sections, ("Made with", versions(metrics))], notes


def _several(runs: Sequence[Run], plane: Plane) -> tuple[str, str, Sections, list[str]]:
    notes = [_unfinished(run) for run in runs if not run.metrics]
    finished = [run for run in runs if run.metrics]
    notes += [f"{r.name}: {collapse_note(at)}" for r in finished if (at := r.metrics.get("collapsed_at")) is not None]
    found = {run.name: one for run in finished[:_MAPS] if (one := _shown(run, notes)) is not None}
    if len(finished) > _MAPS:
        notes.append(f"Maps of the first {_MAPS} runs only.")
    alike = groups(found)
    if len(alike) > 1:
        notes.append("The runs show different samples, so that not all maps can share them.")
    named = {run.config.data.name: None for run in runs}
    title = f"{len(runs)} runs on {', '.join(named)}"
    sections: Sections = [
        ("Scores", compared_scores(finished) if finished else ""),
        ("Settings that differ", differing(runs)),
        ("Maps of the features", "".join(feature_map(group, plane, len(alike)) for group in alike)),
        ("By epoch", curves(runs)),
        ("Geometry of the features", geometry(finished)),
    ]
    return title, "", sections, notes


def _facts(run: Run) -> str:
    metrics = run.metrics
    facts = {
        name.replace("_per_", "/").removeprefix("num_"): number(
            name, metrics[name], find_score(name).text(metrics[name])
        )
        for name in FACTS
        if metrics.get(name) is not None
    }
    facts |= {name: escape(str(metrics[name])) for name in ("device", "precision") if name in metrics}
    items = "".join(f"<li><b>{escape(name)}</b> {value}</li>" for name, value in facts.items())
    return f'<ul class="facts">{items}</ul>\n' if facts else ""


def _reading(run: Run) -> str:
    method = METHODS[run.config.method.name]
    return (
        f'<p class="reading">x′ = x + step · (A⁺x − A⁻(x) x).<br/>'
        f"<b>A⁺ attracts along</b> {escape(method.attracts)}.<br/>"
        f"<b>A⁻ repels along</b> {escape(method.repels)}.<br/>"
        f'<span class="soft">{escape(method.source)}</span></p>'
    )
