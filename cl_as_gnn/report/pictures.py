"""The sections of a report that need images: graph of a minibatch, map of the features, nearest neighbors."""

from __future__ import annotations

from html import escape

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import ImageData, Split, channel_stats
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.report.batch_graph import batch_graph
from cl_as_gnn.report.draw import draw_graph, looks
from cl_as_gnn.report.markup import figure_uri, image_uri, legend, scatter, table
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.load import load_encoder, load_method
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import ImageTask, scored_data
from cl_as_gnn.tasks.embed import embed

_BATCH = 20
_MAP_IMAGES = 1000
_BANK_IMAGES = 10_000
_QUERIES, _NEIGHBORS = 8, 5


def pictures(run: RunFolder, config: RunConfig) -> list[tuple[str, str]]:
    """Return titles and HTML of the sections.

    Raises:
        ConfigError, RunError: the run has no readable encoder, or its images are missing.
    """
    encoder = load_encoder(run)
    root = config.data.root
    if root is not None and not root.is_dir():
        # torchvision would try to download a data set that has only moved.
        raise ConfigError(f"data.root={root} does not exist: put the images back, or change data.root in {run.config}")
    data = scored_data(config, progress=False)
    # Only this picture needs the checkpoint, which a user may have removed to save space.
    sections = [("The graph of a minibatch", _graph(run, config, data))] if run.checkpoint.is_file() else []
    device = pick_device(config.trainer)
    encoder.to(device)
    stats = channel_stats(data.train)
    test, bank = _some(data.test, _MAP_IMAGES), _some(data.train, _BANK_IMAGES)
    x, keys = (F.normalize(embed(encoder, split.images, stats, device), dim=1) for split in (test, bank))
    sections.append(("Map of the features", _map(x, test.labels, data.classes, config.eval.split)))
    sections.append(("Nearest neighbors", _neighbors(x, test, keys, bank, data.classes, config)))
    return sections


def _some(split: Split, count: int) -> Split:
    """Return at most ``count`` images, evenly spread because a split may be sorted by class."""
    return split.take(torch.linspace(0, len(split) - 1, min(count, len(split))).long())


def _graph(run: RunFolder, config: RunConfig, data: ImageData) -> str:
    task = ImageTask(config, data)
    batch = batch_graph(config, task, load_method(config, task, run), _BATCH)
    said = (
        f"{len(batch.labels['sample'])} training images (boxes), {config.method.num_views} views of each, and the "
        "edges that the trained method builds between them: wider for a larger weight, dashed across classes, with an "
        "arrow head on edges without a reverse edge."
    )
    colors = {text: color for color, text in looks(batch).values()}
    lines = "".join(f"<li>{escape(line)}</li>" for line in batch.lines())
    return (
        f'<figure>{legend(colors)}<img class="full" alt="Graph of a minibatch. {escape(said)}" '
        f'src="{figure_uri(draw_graph(batch))}"/><figcaption>{escape(said)}<ul>{lines}</ul></figcaption></figure>'
    )


def _map(x: Tensor, labels: Tensor, classes: tuple[str, ...], split: str) -> str:
    centered = (x - x.mean(0)).double()
    _, scale, axes = torch.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # fixes the sign of each axis
    share = float(scale[:2].square().sum() / scale.square().sum())
    said = (
        f"The two principal axes of the unit features of {len(x):,} {split} images, colored by class; "
        f"they hold {100 * share:.0f} % of the variance."
    )
    drawn = scatter(said, (centered @ axes.T).numpy(), labels.numpy(), classes)
    return f"<figure>{drawn}<figcaption>{escape(said)}</figcaption></figure>"


def _neighbors(x: Tensor, test: Split, keys: Tensor, bank: Split, classes: tuple[str, ...], config: RunConfig) -> str:
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(config.seed))
    present = test.labels.unique()
    chosen = present[torch.linspace(0, len(present) - 1, min(_QUERIES, len(present))).long()]
    queries = [int(order[test.labels[order] == label][0]) for label in chosen]
    k = min(_NEIGHBORS, len(bank))
    similarity, found = (x[queries] @ keys.T).topk(k)
    rows = []
    for query, values, hits in zip(queries, similarity.tolist(), found.tolist(), strict=True):
        row = [_picture(test, query, classes, "query")]
        for value, hit in zip(values, hits, strict=True):
            right = bool(bank.labels[hit] == test.labels[query])
            row.append(_picture(bank, hit, classes, "right" if right else "wrong", f"{value:.2f}"))
        rows.append(row)
    said = (
        f"Images of the {config.eval.split} split, one drawn at random from each of {len(queries)} classes, and their "
        f"{k} nearest among {len(bank):,} training images, with the cosine similarity of the features. "
        "✗ and a dashed frame: another class than the query’s."
    )
    return table(said, ["query", *map(str, range(1, k + 1))], rows, "neighbors")


def _picture(split: Split, i: int, classes: tuple[str, ...], kind: str, value: str = "") -> str:
    name = escape(classes[int(split.labels[i])])
    mark = "✗ " if kind == "wrong" else ""
    alt = f"query of class {name}" if kind == "query" else f"{name}, {kind} class"
    return (
        f'<img class="{kind}" alt="{alt}" src="{image_uri(split.images[i].numpy())}"/>'
        f'<span class="{kind}">{mark}{name}</span><small>{value}</small>'
    )
