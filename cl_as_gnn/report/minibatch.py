"""The graph of a minibatch on the page."""

from __future__ import annotations

from html import escape

from cl_as_gnn.report.batch_graph import batch_graph
from cl_as_gnn.report.draw import draw_graph, looks
from cl_as_gnn.report.markup import figure_uri, legend
from cl_as_gnn.report.scores import Run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import ImageTask, Task

_BATCH = 20


def minibatch(run: Run, task: Task) -> str:
    # Only this picture needs the checkpoint, which a user may have removed to save space.
    if not run.folder.checkpoint.is_file() or not isinstance(task, ImageTask):
        return ""
    config = run.config
    batch = batch_graph(config, task, load_method(config, task, run.folder), _BATCH)
    said = f"{len(batch.labels['sample'])} training images"
    colors = {text: color for color, text in looks(batch).values()}
    return (
        f'<figure>{legend(colors)}<img class="full" alt="Graph of a minibatch. {escape(said)}" '
        f'src="{figure_uri(draw_graph(batch))}"/></figure>'
    )
