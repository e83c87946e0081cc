"""A minibatch graph as a figure: one petal per sample, which holds its views and the nodes that attract them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle
from matplotlib.path import Path as Outline

from cl_as_gnn.config import RunConfig
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.graph import FeatureQueue, SampleBank, schema
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report.batch_graph import ATTRACTION, LINK, BatchGraph, batch_graph
from cl_as_gnn.report.layout import Curve, Layout, lay_out
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import ImageTask, load_task

Kind = tuple[str, str, str]
# The colors of Okabe and Ito, which color-blind readers can tell apart.
LOOKS = {
    schema.AUGMENTATION: ("#0072b2", "two views of one sample"),
    ATTRACTION: ("#56b4e9", "attraction between samples (over 10 % of the largest)"),
    schema.SAMPLE_AFFINITY: ("#e69f00", "neighboring samples"),
    schema.AFFINITY: ("#e69f00", "neighboring views"),
    schema.TARGET_AUGMENTATION: ("#d55e00", "target without gradient → view"),
    schema.REWIRED: ("#009e73", "neighbor in the memory → view"),
    schema.TARGET_NEIGHBOR: ("#009e73", "neighbor in the memory → target"),
    schema.STAGE: ("#cc79a7", "earlier epoch → target"),
    LINK: ("#8a8f98", "edge of the data"),
}
_OTHERS = ("#8a6d00", "#7f6fb0")
_UNUSED = "#9a9a9a"
FRAMES = {"view": "#8a94a6", "target": "#d55e00", "neighbour": "#009e73"}
"""Color of the frame of each type of node; that of others is :data:`OTHER_FRAME`."""
OTHER_FRAME = "#cc79a7"


def inspect_batch(config: RunConfig | None, run_path: Path | None, out: Path, samples: int) -> list[str]:
    """Draw the graph of one minibatch and return the lines to print.

    Args:
        config: data and method; ``None`` uses the settings of ``run_path``.
        run_path: run whose last checkpoint is loaded; ``None`` draws the graph of an untrained method.
        out: path of a ``.png``, ``.svg`` or ``.pdf`` file.
        samples: number of images, nodes or graphs in the batch.
    """
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--out {out}: pictures are .png, .svg or .pdf, name the file {out.with_suffix('.png').name}")
    run = None if run_path is None else open_run(run_path)
    config = config or (run.load_config() if run else None)
    assert config is not None
    task = load_task(config, progress=sys.stderr.isatty())
    if run is None:
        config = task.settle()
    torch.manual_seed(config.seed)
    method = load_method(config, task, run)
    if run is None and isinstance(task, ImageTask):
        method.prepare(task.preview)
    batch = batch_graph(config, task, method, samples)
    count = f"{len(batch.labels['sample'])} {task.kind}"
    state = "trained" if run else "untrained"
    figure = draw_graph(batch, f"{config.method.name} on {task.name}: {count}, {state} encoder")
    try:
        figure.savefig(out, dpi=200)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    memory = any(isinstance(part, FeatureQueue | SampleBank) for part in method.modules())
    return [
        f"{out}: {config.method.name}, {count} × {config.method.num_views} views",
        *batch.lines(),
        f"attracts: {METHODS[config.method.name].attracts}",
        f"repels: {METHODS[config.method.name].repels}",
        *([] if run else [f"untrained{', its memory empty' * memory}: --run RUN draws the graph of a trained method"]),
    ]


def looks(batch: BatchGraph) -> dict[Kind, tuple[str, str]]:
    """Return color and description of each edge type."""
    out = {}
    others = iter(_OTHERS * len(batch.data.edge_types))
    for relation in batch.relations():
        source, name, target = kind = relation.kind
        color, text = LOOKS.get(kind) or (next(others), f"{source} → {target} ({name})")
        out[kind] = (color, text) if relation.attracts else (_UNUSED, f"{text} (not attracted along)")
    return out


def draw_graph(batch: BatchGraph, title: str = "") -> Figure:
    """Draw a minibatch graph: colors show edge types, line widths show weights.

    Edges within a class are solid and across classes dashed; an arrow head marks an edge without a reverse edge.

    Args:
        batch: result of :func:`cl_as_gnn.report.batch_graph.batch_graph`.
        title: title of the figure; if empty, the figure has no title and no legend.
    """
    layout, colors = lay_out(batch), looks(batch)
    low, high = layout.bounds
    width, height = high - low
    handles = _legend(layout, colors)
    around = 0.55 + 0.23 * ((len(handles) + 1) // 2) if title else 0
    figure = Figure(figsize=(9, 9 * height / width + around), layout="constrained")
    axes: Axes = figure.subplots()
    for corners in layout.petals:
        axes.add_patch(Polygon(corners, fc=(0.5, 0.5, 0.5, 0.08), ec="#b5bcc8", lw=1, joinstyle="round", zorder=1))
    unused = {relation.kind for relation in batch.relations() if not relation.attracts}
    for curve in layout.curves:
        _draw_curve(axes, curve, colors[curve.kind][0], curve.kind in unused, fine(layout, curve))
    for name, points in layout.place.items():
        line: dict[str, Any] = {"ec": FRAMES.get(name, OTHER_FRAME), "ls": "-" if name == "view" else (0, (2, 1.2))}
        for i in (layout.box[name] >= 0).nonzero()[0]:
            x, y = points[i] - 0.5
            axes.imshow(batch.images[name][i], extent=(x, x + 1, y, y + 1), interpolation="nearest", zorder=5)
            axes.add_patch(Rectangle((x, y), 1, 1, fill=False, lw=1.2, zorder=6, **line))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_axis_off()
    if title:
        figure.suptitle(title)
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _legend(layout: Layout, colors: dict[Kind, tuple[str, str]]) -> list[Line2D]:
    lines = []
    for kind in dict.fromkeys(curve.kind for curve in layout.curves):
        color, text = colors[kind]
        band = kind == ATTRACTION
        lines.append(Line2D([], [], color=color, lw=6 if band else 2.2, alpha=0.45 if band else 1, label=text))
    if any(curve.across and curve.kind != ATTRACTION for curve in layout.curves):
        lines.append(Line2D([], [], color="#404040", lw=1.5, ls=(0, (3, 2)), label="dashed: across classes"))
    if any(curve.one_way for curve in layout.curves):
        lines.append(Line2D([], [], color="#404040", lw=0, marker=r"$\rightarrow$", ms=14, label="arrow: one-way"))
    return lines


def fine(layout: Layout, curve: Curve) -> float:
    """Factor on the width of an edge: nodes with many incoming edges get thinner lines."""
    source, _, target = curve.kind
    if source == "sample":
        return 1.0
    count = sum(other.kind == curve.kind for other in layout.curves)
    return 0.6 if count > 2 * len(layout.place[target]) else 1.0


def stroke(curve: Curve, unused: bool, thin: float) -> tuple[float, float]:
    """Width in points and opacity of an edge; ``unused``: no message flows along it."""
    if curve.kind == ATTRACTION:
        return 9 * curve.weight, 0.4
    return (0.8 + 1.7 * curve.weight) * thin, (0.45 + 0.55 * curve.weight) * (0.6 if unused else 1)


def _draw_curve(axes: Axes, curve: Curve, color: str, unused: bool, thin: float) -> None:
    """Draw lines from border to border of the nodes; a mutual pair is one line with the larger of the two weights."""
    width, alpha = stroke(curve, unused, thin)
    band = curve.kind == ATTRACTION
    axes.add_patch(
        FancyArrowPatch(
            path=Outline(curve.path, [Outline.MOVETO, Outline.CURVE3, Outline.CURVE3]),
            arrowstyle="-|>" if curve.one_way else "-",
            mutation_scale=9 * thin,
            color=color,
            lw=width,
            alpha=alpha,
            ls=(0, (3, 2)) if curve.across and not band else "-",
            zorder=2 if band else 3,
            capstyle="round" if band else "butt",
        )
    )
