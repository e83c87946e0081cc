"""The graph of a minibatch on the page, as SVG with switches: ``static/graph.js`` shows the neighbors of a node."""

from __future__ import annotations

from html import escape

from cl_as_gnn.report.batch_graph import ATTRACTION, BatchGraph, batch_graph
from cl_as_gnn.report.draw import FRAMES, OTHER_FRAME, fine, looks, stroke
from cl_as_gnn.report.layout import Curve, Layout, lay_out
from cl_as_gnn.report.markup import image_uri
from cl_as_gnn.report.scores import Run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import Task

_BATCH = 20
_POINTS = 27  # to a side of a node, for the widths of lines


def minibatch(run: Run, task: Task) -> str:
    """Return the graph that the trained method builds from some training samples; nothing without a checkpoint."""
    # Only this picture needs the checkpoint, which a user may have removed to save space.
    if not run.folder.checkpoint.is_file():
        return ""
    method = load_method(run.config, task, run.folder)
    batch = batch_graph(run.config, task, method, _BATCH)
    layout, views = lay_out(batch), run.config.method.num_views
    views_of = f"{views} views of each" if views > 1 else "the one view of each"
    dashed = " dashed across classes," if bool((batch.labels["sample"] >= 0).any()) else ""
    said = (
        f"{len(batch.labels['sample'])} training {task.kind}, {views_of}, and the edges that the trained method builds "
        f"between them: wider for a larger weight,{dashed} with an arrow head on edges without a reverse edge. Point "
        "at a node, or tap it, to see its neighbors alone."
    )
    lines = "".join(f"<li>{escape(line)}</li>" for line in batch.lines())
    return (
        f'<figure class="minibatch">{_switches(batch, layout)}{_svg(batch, layout, said)}'
        f"<figcaption>{escape(said)}<ul>{lines}</ul></figcaption></figure>"
    )


def _key(kind: tuple[str, str, str]) -> str:
    return "-".join(kind)


def _switches(batch: BatchGraph, layout: Layout) -> str:
    colors = looks(batch)
    items = "".join(
        f'<li style="--shade:{colors[kind][0]}"><label><input type="checkbox" checked="checked" '
        f'value="{escape(_key(kind))}"/> <span class="swatch" style="background:var(--shade)"></span>'
        f"{escape(colors[kind][1])}</label></li>"
        for kind in dict.fromkeys(curve.kind for curve in layout.curves)
    )
    return f'<ul class="switches">{items}</ul>'


def _svg(batch: BatchGraph, layout: Layout, said: str) -> str:
    colors = looks(batch)
    unused = {relation.kind for relation in batch.relations() if not relation.attracts}
    low, high = layout.bounds
    width, height = high - low
    heads = "".join(
        f'<marker id="head-{n}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth=".32" markerHeight=".32" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1L10 5L0 9z" fill="{colors[kind][0]}"/></marker>'
        for n, kind in enumerate(colors)
    )
    petals = "".join(
        f'<path class="petal" stroke-width=".05" stroke-linejoin="round" d="M{"L".join(map(_point, corners))}z"/>'
        for corners in layout.petals
    )
    number = {kind: n for n, kind in enumerate(colors)}
    edges = "".join(
        _edge(
            curve, colors[curve.kind][0], number[curve.kind], stroke(curve, curve.kind in unused, fine(layout, curve))
        )
        for curve in layout.curves
    )
    nodes = "".join(_nodes(batch, layout, name) for name in layout.place)
    text = escape(said)
    return (
        f'<svg class="batch" role="group" aria-label="Graph of a minibatch. {text}" '
        f'viewBox="{low[0]:.2f} {-high[1]:.2f} {width:.2f} {height:.2f}">'
        f"<defs>{heads}</defs>{petals}{edges}{nodes}</svg>"
    )


def _point(point: tuple[float, float]) -> str:
    return f"{point[0]:.2f} {-point[1]:.2f}"


def _edge(curve: Curve, color: str, number: int, look: tuple[float, float]) -> str:
    width, opacity = look
    first, bend, last = map(_point, curve.path)
    (a, i), (b, j) = curve.ends
    dash = ' stroke-dasharray=".22 .16"' if curve.across and curve.kind != ATTRACTION else ""
    head = f' marker-end="url(#head-{number})"' if curve.one_way else ""
    return (
        f'<path class="edge" data-kind="{escape(_key(curve.kind))}" data-a="{a}-{i}" data-b="{b}-{j}" stroke="{color}" '
        f'stroke-width="{width / _POINTS:.3f}" stroke-opacity="{opacity:.2f}"{dash}{head} '
        f'd="M{first}Q{bend} {last}"/>'
    )


def _nodes(batch: BatchGraph, layout: Layout, name: str) -> str:
    frame = FRAMES.get(name, OTHER_FRAME)
    dash = "" if name == "view" else ' stroke-dasharray=".15 .1"'
    parts = []
    for i in (layout.box[name] >= 0).nonzero()[0]:
        x, y = layout.place[name][i] * (1, -1) - 0.5
        tile = (batch.images[name][i] * 255).round().astype("uint8").transpose(2, 0, 1)
        kind = ' class="pixels"' if tile.shape[-1] <= 32 else ""
        sample = int(layout.box[name][i])
        parts.append(
            f'<g class="node" tabindex="0" data-node="{name}-{i}" data-sample="sample-{sample}">'
            f"<title>{name} of sample {sample + 1}</title>"
            f'<image{kind} x="{x:.2f}" y="{y:.2f}" width="1" height="1" href="{image_uri(tile)}"/>'
            f'<rect class="frame" x="{x:.2f}" y="{y:.2f}" width="1" height="1" stroke="{frame}"{dash}/></g>'
        )
    return "".join(parts)
