"""A minibatch graph as a figure: one box per sample, which holds its views and the nodes that attract them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from cl_as_gnn.config import DataConfig, RunConfig
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.graph import FeatureQueue, SampleBank, schema
from cl_as_gnn.methods import METHODS
from cl_as_gnn.report.batch_graph import ATTRACTION, BatchGraph, Relation, batch_graph
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import ImageTask, load_task

Array = np.ndarray[Any, Any]

# The colors of Okabe and Ito, which color-blind readers can tell apart.
LOOKS = {
    schema.AUGMENTATION: ("#0072b2", "two views of one image"),
    ATTRACTION: ("#56b4e9", "attraction between images (over 10 % of the largest)"),
    schema.SAMPLE_AFFINITY: ("#e69f00", "neighboring images"),
    schema.AFFINITY: ("#e69f00", "neighboring views"),
    schema.TARGET_AUGMENTATION: ("#d55e00", "target without gradient → view"),
    schema.REWIRED: ("#009e73", "neighbor in the memory → view"),
    schema.TARGET_NEIGHBOR: ("#009e73", "neighbor in the memory → target"),
    schema.STAGE: ("#cc79a7", "earlier epoch → target"),
}
_OTHERS = ("#8a6d00", "#444444")
_UNUSED = "#9a9a9a"
_FRAMES = {"view": "#404040", "target": "#d55e00", "neighbour": "#009e73"}
_PITCH, _LIFT = 1.6, 2.2


def inspect_batch(config: RunConfig | None, run_path: Path | None, out: Path, samples: int) -> list[str]:
    """Draw the graph of one minibatch and return the lines to print.

    Args:
        config: data and method; ``None`` uses the settings of ``run_path``.
        run_path: run whose last checkpoint is loaded; ``None`` draws the graph of an untrained method.
        out: path of a ``.png``, ``.svg`` or ``.pdf`` file.
        samples: number of images in the batch.
    """
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--out {out}: pictures are .png, .svg or .pdf, name the file {out.with_suffix('.png').name}")
    run = None if run_path is None else open_run(run_path)
    config = config or (run.load_config() if run else None)
    assert config is not None
    if not isinstance(config.data, DataConfig):
        raise ConfigError(f"data.name={config.data.name} is a graph: clgnn inspect draws minibatches of images")
    task = load_task(config, progress=sys.stderr.isatty())
    assert isinstance(task, ImageTask)
    if run is None:
        config = task.settle()
    torch.manual_seed(config.seed)
    method = load_method(config, task, run)
    if run is None:
        method.prepare(task.preview)
    batch = batch_graph(config, task, method, samples)
    count = len(batch.labels["sample"])
    state = "trained" if run else "untrained"
    figure = draw_graph(batch, f"{config.method.name} on {task.name}: {count} images, {state} encoder")
    try:
        figure.savefig(out, dpi=200)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    memory = any(isinstance(part, FeatureQueue | SampleBank) for part in method.modules())
    return [
        f"{out}: {config.method.name}, {count} images × {config.method.num_views} views",
        *batch.lines(),
        f"attracts: {METHODS[config.method.name].attracts}",
        f"repels: {METHODS[config.method.name].repels}",
        *([] if run else [f"untrained{', its memory empty' * memory}: --run RUN draws the graph of a trained method"]),
    ]


def looks(batch: BatchGraph) -> dict[tuple[str, str, str], tuple[str, str]]:
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
    drawn = {"sample", *batch.images}
    relations = [one for one in batch.relations() if len(one.weight) and {one.kind[0], one.kind[2]} <= drawn]
    box, offset = _inside(batch, relations)
    half = np.abs(np.concatenate(list(offset.values()))).max(0) + 0.78
    center = _boxes(relations, box, half)
    place = {name: center[np.maximum(box[name], 0)] + offset[name] for name in offset}
    low, high = center.min(0) - half - 0.2, center.max(0) + half + 0.2
    width, height = high - low
    colors = looks(batch)
    handles = _legend(relations, colors)
    around = 0.55 + 0.23 * ((len(handles) + 1) // 2) if title else 0
    figure = Figure(figsize=(9, 9 * height / width + around), layout="constrained")
    axes: Axes = figure.subplots()
    style: dict[str, Any] = {"boxstyle": "round,pad=0.2", "fc": (1, 1, 1, 0.8), "ec": "#b5bcc8", "lw": 1, "zorder": 3}
    for corner in center - half + 0.2:
        axes.add_patch(FancyBboxPatch(corner, *(2 * half - 0.4), **style))
    for relation in sorted(relations, key=lambda r: r.kind != ATTRACTION):
        border = half if relation.kind[0] == "sample" else np.array([0.56, 0.56])
        _edges(axes, relation, colors[relation.kind][0], place | {"sample": center}, border)
    for name, points in place.items():
        line: dict[str, Any] = {"ec": _FRAMES.get(name, "#cc79a7"), "ls": "-" if name == "view" else (0, (2, 1.2))}
        for i in np.flatnonzero(box[name] >= 0):
            x, y = points[i] - 0.5
            axes.imshow(batch.images[name][i], extent=(x, x + 1, y, y + 1), interpolation="nearest", zorder=5)
            axes.add_patch(Rectangle((x, y), 1, 1, fill=False, lw=1.2, zorder=6, **line))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_axis_off()
    if title:
        figure.suptitle(title)
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _legend(relations: list[Relation], colors: dict[tuple[str, str, str], tuple[str, str]]) -> list[Line2D]:
    lines = []
    for relation in relations:
        color, text = colors[relation.kind]
        band = relation.kind == ATTRACTION
        lines.append(Line2D([], [], color=color, lw=6 if band else 2.2, alpha=0.45 if band else 1, label=text))
    if any(relation.across.any() and relation.kind != ATTRACTION for relation in relations):
        lines.append(Line2D([], [], color="#404040", lw=1.5, ls=(0, (3, 2)), label="dashed: across classes"))
    if any(relation.one_way.any() for relation in relations):
        lines.append(Line2D([], [], color="#404040", lw=0, marker=r"$\rightarrow$", ms=14, label="arrow: one-way"))
    return lines


def _inside(batch: BatchGraph, relations: list[Relation]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the box of each node (−1 without edges) and its position in the box: sources lie above their targets."""
    views, size = int(batch.data.num_views), len(batch.labels["sample"])
    box = {"view": np.arange(views * size) % size}
    for _ in relations:
        for (source, _, target), (start, end), *_ in relations:
            if source not in ("sample", *box) and target in box:
                box[source] = np.full(len(batch.labels[source]), -1)
                box[source][start] = box[target][end]
    offset, top = {}, 0.0
    for name, owner in box.items():
        index = np.flatnonzero(owner >= 0)
        order = index[np.argsort(owner[index], kind="stable")]
        rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
        count = int(rank.max()) + 1
        columns = -(-count // -(-count // max(views, 5)))
        row, column = np.divmod(rank, columns)
        place = np.stack([(column - (columns - 1) / 2) * _PITCH, top + _LIFT * row], 1)
        if len(box) == 1 and views > 2:
            turn = 2 * np.pi * (rank / views + (0.125 if views == 4 else 0.25))
            place = max(0.8, 0.62 / np.sin(np.pi / views)) * 1.3 * np.stack([np.cos(turn), np.sin(turn)], 1)
        offset[name] = np.zeros((len(owner), 2))
        offset[name][order] = place
        top += _LIFT * (int(row.max()) + 1)
    everything = np.concatenate([offset[name][box[name] >= 0] for name in box])
    middle = (everything.max(0) + everything.min(0)) / 2
    return box, {name: np.where(box[name][:, None] >= 0, offset[name] - middle, 0) for name in box}


def _boxes(relations: list[Relation], box: dict[str, Array], half: Array) -> Array:
    """Return centers of boxes that do not overlap: a spring layout, assigned to the points of a staggered grid."""
    size = int(box["view"].max()) + 1
    net = nx.Graph()
    net.add_nodes_from(range(size))
    for relation in relations:
        source, target = (
            end.numpy() if kind == "sample" else box[kind][end]
            for kind, end in zip(relation.kind[::2], relation.edge_index, strict=True)
        )
        pairs = zip(source, target, relation.weight.tolist(), strict=True)
        net.add_weighted_edges_from((s, t, w / float(relation.weight.max())) for s, t, w in pairs if s != t)
    joined = net.number_of_edges() > 0
    slots, gap = (1.25, 1.5) if joined else (1.0, 0.4)
    pitch = 2 * half + gap
    columns = int(np.ceil(np.sqrt(slots * size * 1.2 * pitch[1] / pitch[0])))
    if not joined:  # the last row as full as possible
        columns = min((columns, max(1, columns - 1), columns + 1), key=lambda count: -size % count)
    rows = int(np.ceil(slots * size / columns))
    row, column = np.divmod(np.arange(rows * columns), columns)
    grid = np.stack([column + 0.5 * joined * (row % 2), -1.0 * row], axis=1) * pitch
    if not joined:
        return grid[:size]
    layout = nx.spring_layout(net, seed=0, k=3 / np.sqrt(size), iterations=300)
    # Ranks fill the middle of the picture where clusters lie far apart.
    rank = rankdata(np.array([layout[i] for i in range(size)]), axis=0) / size
    scaled = grid.min(0) + rank * (grid.max(0) - grid.min(0))
    place: Array = grid[linear_sum_assignment(((scaled[:, None] - grid[None]) ** 2).sum(-1))[1]]
    return place


def _edges(axes: Axes, relation: Relation, color: str, place: dict[str, Array], half: Array) -> None:
    """Draw lines from border to border of the nodes; a mutual pair is one line with the larger of the two weights."""
    band, between = relation.kind == ATTRACTION, relation.kind[0] == "sample"
    # Nodes with many incoming edges get thinner lines.
    fine = 0.6 if not between and relation.edge_index.size(1) > 2 * len(place[relation.kind[2]]) else 1.0
    look: dict[str, Any] = {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 9 * fine, "color": color}
    look["zorder"] = 1 if band else 2 if between else 4
    pairs = list(zip(*relation.edge_index.tolist(), strict=True))
    share = dict(zip(pairs, (relation.weight / relation.weight.max()).tolist(), strict=True))
    source, target = (place[name] for name in relation.kind[::2])
    for (start, end), one_way, across in zip(pairs, relation.one_way.tolist(), relation.across.tolist(), strict=True):
        weight = share[start, end] if one_way else max(share[start, end], share[end, start])
        if (not one_way and start > end) or (band and weight < 0.1):
            continue
        way = target[end] - source[start]
        border = way * min(0.5, (half / np.maximum(np.abs(way), 1e-9)).min())
        look["lw"] = 9 * weight if band else (0.8 + 1.7 * weight) * fine
        look["alpha"] = 0.4 if band else (0.45 + 0.55 * weight) * (1 if relation.attracts else 0.6)
        look["ls"] = (0, (3, 2)) if across and not band else "-"
        look["arrowstyle"] = "-|>" if one_way else "-"
        axes.add_patch(FancyArrowPatch(source[start] + border, target[end] - border, **look))
