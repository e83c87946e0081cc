"""The graph of one minibatch, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import DataConfig, RunConfig
from cl_as_gnn.datasets import RECIPES, BatchedViews, ImageData, channel_stats
from cl_as_gnn.encoders import build_encoder
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.evaluation import edge_purity
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import scored_data

AUGMENTATION_COLOUR = "#2463c4"
SAME_CLASS_COLOUR = "#e08a00"
OTHER_CLASS_COLOUR = "#b9b9b9"


def inspect_batch(config: RunConfig | None, run_path: Path | None, out: Path, samples: int, k: int) -> list[str]:
    """Draw the graph of one minibatch to ``out``; returns what to tell the user, a line each.

    Args:
        config: data and views; ``None`` takes those of ``run_path``.
        run_path: a finished run whose encoder places the nodes; without one an untrained encoder does.
        out: a ``.png`` (or ``.svg``, ``.pdf``) file.
        samples: images in the batch.
        k: affinity edges into each view.
    """
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--out {out}: pictures are .png, .svg or .pdf, name the file {out.with_suffix('.png').name}")
    run = None if run_path is None else open_run(run_path)
    config = config or (run.load_config() if run else None)
    assert config is not None
    data = scored_data(config)
    views = config.method.num_views
    torch.manual_seed(config.seed)
    encoder = (
        load_encoder(run)
        if run
        else build_encoder(config.encoder.name, data.channels, data.image_size, config.encoder.width).eval()
    )
    graph, images, labels = batch_graph(config, data, encoder, samples, k)
    samples = len(labels) // views
    title = f"{data.name}: {samples} images × {views} views, {'trained' if run else 'untrained'} encoder"
    figure = draw_graph(graph, images, labels, title)
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from None
    edges = graph[AFFINITY]
    return [
        f"{out}: {samples * views} views, {graph[AUGMENTATION].edge_index.size(1)} augmentation edges, "
        f"{edges.edge_index.size(1)} kNN edges (k={k})",
        f"edge purity {100 * edge_purity(edges.edge_index, labels):.0f} %: the share of kNN edges within a class",
        *([] if run else ["the encoder is untrained; --run RUN shows the graph of a trained one"]),
    ]


def batch_graph(
    config: RunConfig, data: ImageData, encoder: nn.Module, samples: int, k: int
) -> tuple[HeteroData, np.ndarray[Any, Any], Tensor]:
    """One minibatch of a run: its graph, its views as images ``(n, H, W, 3)`` in 0 … 1 and their classes ``(n,)``.

    Args:
        config: views, their augmentation and the seed that picks the images.
        data: whose training images are drawn from.
        encoder: images to features, on the CPU and in eval mode.
        samples: images in the batch; all there are, if fewer.
        k: affinity edges into each view.

    Raises:
        ConfigError: the batch has no k other views to choose neighbours from.
    """
    samples = min(samples, len(data.train))
    views = config.method.num_views
    if k >= samples * views:
        nodes = samples * views
        raise ConfigError(f"-k {k}: {samples} images with {views} views make {nodes} nodes, choose a smaller k")
    generator = torch.Generator().manual_seed(config.seed)
    stats = channel_stats(data.train)
    recipe = config.data.augment if isinstance(config.data, DataConfig) else None
    augment = BatchedViews(recipe or RECIPES[data.name], data.image_size, data.channels, *stats)
    sample = torch.randperm(len(data.train), generator=generator)[:samples]
    with torch.no_grad():
        pixels = augment(data.train.images[sample], views, generator)
        graph = view_graph(F.normalize(encoder(pixels).float(), dim=1), views, sample, affinity_k=k)
    return graph, denormalize(pixels, stats), data.train.labels[graph["view"].sample]


def denormalize(pixels: Tensor, stats: tuple[Any, Any]) -> np.ndarray[Any, Any]:
    """Normalized views to ``(n, H, W, 3)`` in 0 … 1."""
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in stats)
    image = (pixels.float() * std + mean).clamp(0, 1).expand(-1, 3, -1, -1)
    array: np.ndarray[Any, Any] = image.permute(0, 2, 3, 1).numpy()
    return array


def _positions(graph: HeteroData) -> np.ndarray[Any, Any]:
    """A place for each node, none on top of another: a spring layout, moved to the points of a staggered grid."""
    n = len(graph["view"].x)
    net = nx.Graph()
    net.add_nodes_from(range(n))
    net.add_weighted_edges_from((int(s), int(t), 0.6) for s, t in graph[AFFINITY].edge_index.t())
    net.add_weighted_edges_from((int(s), int(t), 1.5) for s, t in graph[AUGMENTATION].edge_index.t())
    layout = nx.spring_layout(net, seed=0, k=3 / np.sqrt(n), iterations=300)
    # Ranks, so that clusters far apart do not leave the middle of the picture empty.
    wanted = rankdata(np.array([layout[i] for i in range(n)]), axis=0) / n
    columns = int(np.ceil(np.sqrt(1.25 * n)))
    rows = int(np.ceil(1.25 * n / columns))
    row, column = np.divmod(np.arange(rows * columns), columns)
    grid = np.stack([column + 0.5 * (row % 2), 1.0 * row], axis=1)
    scaled = wanted * grid.max(axis=0)
    chosen = linear_sum_assignment(((scaled[:, None] - grid[None]) ** 2).sum(-1))[1]
    place: np.ndarray[Any, Any] = grid[chosen]
    return place


def _pairs(edge_index: Tensor) -> np.ndarray[Any, Any]:
    """Each joined pair once: two dashed lines on top of each other look solid."""
    pairs: np.ndarray[Any, Any] = torch.unique(edge_index.sort(0).values, dim=1).numpy()
    return pairs


def draw_graph(graph: HeteroData, images: np.ndarray[Any, Any], labels: Tensor, title: str = "") -> Figure:
    """A figure of a minibatch graph: each node is its image, each relation has its own line.

    Args:
        graph: of :func:`cl_as_gnn.graph.view_graph`, with affinity edges.
        images: ``(n, H, W, 3)`` in 0 … 1.
        labels: class of each view ``(n,)``; tells kNN edges within a class from those across.
        title: above the picture; without one there is neither a title nor a legend, and a page says both.
    """
    figure = Figure(figsize=(9, 8.2), layout="constrained")
    axes: Axes = figure.subplots()
    place = _positions(graph)
    source, target = _pairs(graph[AFFINITY].edge_index)
    same = (labels[source] == labels[target]).numpy()
    for chosen, colour, style in ((~same, OTHER_CLASS_COLOUR, (0, (4, 3))), (same, SAME_CLASS_COLOUR, (0, (4, 2)))):
        lines = np.stack([place[source[chosen]], place[target[chosen]]], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=1.4, linestyles=[style], zorder=1))
    source, target = _pairs(graph[AUGMENTATION].edge_index)
    lines = np.stack([place[source], place[target]], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=AUGMENTATION_COLOUR, linewidths=2.6, zorder=2))
    low, high = place.min(0) - 0.6, place.max(0) + 0.6
    side = 0.42 * 72 * min(8.8 / (high - low)[0], 7.4 / (high - low)[1])  # points: under half the space of a node
    for point, image in zip(place, images, strict=True):
        box = AnnotationBbox(
            OffsetImage(image, zoom=side / image.shape[0], interpolation="nearest"),
            tuple(point),
            pad=0.12,
            bboxprops={"edgecolor": "#404040", "linewidth": 0.8},
        )
        box.set_zorder(3)
        axes.add_artist(box)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_axis_off()
    if not title:
        return figure
    axes.set_title(title)
    figure.legend(
        handles=[
            Line2D([], [], color=AUGMENTATION_COLOUR, linewidth=2.6, label="augmentation edge (attracts)"),
            Line2D([], [], color=SAME_CLASS_COLOUR, linestyle=(0, (4, 2)), label="kNN edge, same class"),
            Line2D([], [], color=OTHER_CLASS_COLOUR, linestyle=(0, (4, 3)), label="kNN edge, other class"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure
