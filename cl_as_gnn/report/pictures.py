"""The parts of a report that need the images: the graph of a minibatch, the map of the features, nearest neighbours."""

from __future__ import annotations

from html import escape

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import ImageData, Split, channel_stats
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import edge_purity
from cl_as_gnn.graph.schema import AFFINITY
from cl_as_gnn.report import batch_graph
from cl_as_gnn.report.charts import class_legend, legend, scatter
from cl_as_gnn.report.markup import figure_uri, image_uri, table
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import scored_data
from cl_as_gnn.tasks.embed import embed

_BATCH, _K = 20, 3
_MAP_IMAGES = 1000
_BANK_IMAGES = 10_000
_QUERIES, _NEIGHBOURS = 8, 5


def pictures(run: RunFolder, config: RunConfig) -> list[tuple[str, str]]:
    """Titles and HTML of the sections.

    Raises:
        ConfigError, RunError: the run has no encoder yet, or its data is not at hand.
    """
    encoder = load_encoder(run)
    root = config.data.root
    if root is not None and not root.is_dir():
        # Said before torchvision tries to download what has only moved.
        raise ConfigError(f"data.root={root} is not there: put the images back, or change data.root in {run.config}")
    data = scored_data(config, progress=False)
    sections = [("The graph of a minibatch", _graph(config, data, encoder))]
    device = pick_device(config.trainer)
    encoder.to(device)
    stats = channel_stats(data.train)
    test, bank = _some(data.test, _MAP_IMAGES), _some(data.train, _BANK_IMAGES)
    x, keys = (F.normalize(embed(encoder, split.images, stats, device), dim=1) for split in (test, bank))
    sections.append(("Map of the features", _map(x, test.labels, data.classes, config.eval.split)))
    sections.append(("Nearest neighbours", _neighbours(x, test, keys, bank, data.classes, config)))
    return sections


def _some(split: Split, count: int) -> Split:
    """At most ``count`` images, evenly spread over a split that may be sorted by class."""
    return split.take(torch.linspace(0, len(split) - 1, min(count, len(split))).long())


def _graph(config: RunConfig, data: ImageData, encoder: torch.nn.Module) -> str:
    views = config.method.num_views
    k = min(_K, min(_BATCH, len(data.train)) * views - 1)
    graph, images, labels = batch_graph.batch_graph(config, data, encoder, _BATCH, k)
    edges = graph[AFFINITY].edge_index
    same = round(edge_purity(edges, labels) * edges.size(1))
    said = (
        f"{len(labels) // views} training images, {views} views of each, in the features of the trained encoder: "
        f"{same} of the {edges.size(1)} edges to the k = {k} nearest neighbours stay within a class."
    )
    colours = {
        "two views of one image (augmentation edge)": batch_graph.AUGMENTATION_COLOUR,
        "nearest neighbour of the same class": batch_graph.SAME_CLASS_COLOUR,
        "nearest neighbour of another class": batch_graph.OTHER_CLASS_COLOUR,
    }
    picture = figure_uri(batch_graph.draw_graph(graph, images, labels))
    return (
        f'<figure>{legend(colours)}<img class="full" alt="Graph of a minibatch. {escape(said)}" src="{picture}"/>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _map(x: Tensor, labels: Tensor, classes: tuple[str, ...], split: str) -> str:
    centred = (x - x.mean(0)).double()
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # of the two signs, one
    share = float(scale[:2].square().sum() / scale.square().sum())
    said = (
        f"The two principal axes of the unit features of {len(x):,} {split} images, coloured by class; "
        f"they hold {100 * share:.0f} % of the variance."
    )
    drawn = scatter(said, (centred @ axes.T).numpy(), labels.numpy(), classes)
    return f"<figure>{class_legend(classes)}{drawn}<figcaption>{escape(said)}</figcaption></figure>"


def _neighbours(x: Tensor, test: Split, keys: Tensor, bank: Split, classes: tuple[str, ...], config: RunConfig) -> str:
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(test), generator=generator)
    present = test.labels.unique()
    chosen = present[torch.linspace(0, len(present) - 1, min(_QUERIES, len(present))).long()]
    queries = [int(order[test.labels[order] == label][0]) for label in chosen]
    k = min(_NEIGHBOURS, len(bank))
    similarity, found = (x[queries] @ keys.T).topk(k)
    rows = []
    for query, values, hits in zip(queries, similarity.tolist(), found.tolist(), strict=True):
        own = int(test.labels[query])
        row = [_picture(test, query, classes, "query", "")]
        for value, hit in zip(values, hits, strict=True):
            right = int(bank.labels[hit]) == own
            row.append(_picture(bank, hit, classes, "right" if right else "wrong", f"{value:.2f}"))
        rows.append(row)
    said = (
        f"Images of the {config.eval.split} split, one drawn at random from each of {len(queries)} classes, and their "
        f"{k} nearest among {len(bank):,} training images, with the cosine similarity of the features. "
        "✗ and a dashed frame: another class than the query’s."
    )
    return table(said, ["query", *map(str, range(1, k + 1))], rows, "neighbours")


def _picture(split: Split, i: int, classes: tuple[str, ...], kind: str, value: str) -> str:
    name = escape(classes[int(split.labels[i])])
    mark = "✗ " if kind == "wrong" else ""
    alt = {"query": f"query of class {name}", "right": f"{name}, right class", "wrong": f"{name}, wrong class"}[kind]
    return (
        f'<img class="{kind}" alt="{alt}" src="{image_uri(split.images[i].numpy())}"/>'
        f'<span class="{kind}">{mark}{name}</span><small>{value}</small>'
    )
