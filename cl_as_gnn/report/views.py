"""The samples of one minibatch, their views as a method reads them, and pictures of both."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets.graph_views import stack
from cl_as_gnn.report.glyphs import drawn_graph, graph_pictures, graph_places, node_pictures
from cl_as_gnn.tasks import ImageTask, NodeTask, Task, WholeGraphTask
from cl_as_gnn.tasks.factors import FactorTask

Array = np.ndarray[Any, Any]
_BRANCHES = 4
"""Neighbors through which a node of a neighborhood is left."""


@dataclass(frozen=True)
class Views:
    """Samples of a minibatch.

    Attributes:
        sample: their positions in the training set ``(B,)``.
        inputs: their views, as the encoder reads them.
        pictures: a picture of each view ``(V · B, H, W, 3)`` in [0, 1], view-major.
        owned: from positions in the training set (−1: none, gray) to pictures ``(n, H, W, 3)``.
        labels: the class of every training sample, −1 where unknown.
        links: edges of the data among the samples, as positions in ``sample`` ``(2, E)``; ``None`` without a graph.
    """

    sample: Tensor
    inputs: Any
    pictures: Array
    owned: Callable[[Tensor], Array]
    labels: Tensor
    links: Tensor | None = None


def drawn_views(config: RunConfig, task: Task, count: int) -> Views:
    """Draw the views of some samples of a task; the seed of the config selects both.

    Of a graph whose nodes are the samples they are the neighborhood of a node.
    """
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)  # views of graphs take no generator
    if isinstance(task, NodeTask):
        return _of_nodes(config, task, _neighborhood(task.graph, count, generator))
    sample = torch.randperm(task.size, generator=generator)[:count]
    if isinstance(task, WholeGraphTask):
        return _of_graphs(config, task, sample)
    assert isinstance(task, ImageTask)
    return _of_images(config, task, sample, generator)


def _of_images(config: RunConfig, task: ImageTask, sample: Tensor, generator: torch.Generator) -> Views:
    train, side, count = task.data.train, task.data.image_size, config.method.num_views
    if isinstance(task, FactorTask):
        pixels = task.views()(sample, count, generator)
    else:
        pictures, aspect = train.read(sample)
        pixels = task.views()(pictures, count, generator, aspect)
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in task.stats)
    shown = torch.cat([F.interpolate(part, side) for part in pixels]) if isinstance(pixels, tuple) else pixels

    def owned(owner: Tensor) -> Array:
        squares = train.squares(owner.clamp(min=0), side) / 255
        return _rgb(torch.where((owner < 0).view(-1, 1, 1, 1), 0.8, squares))

    return Views(sample, pixels, _rgb(shown * std + mean), owned, train.labels)


def _rgb(tiles: Tensor) -> Array:
    out: Array = tiles.clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return out


def _glyphs(pictures: Tensor) -> Array:
    out: Array = (pictures.float() / 255).permute(0, 2, 3, 1).numpy()
    return out


def _owned(pictures: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Array]:
    def owned(owner: Tensor) -> Array:
        tiles = pictures(owner.clamp(min=0))
        return _glyphs(torch.where((owner < 0).view(-1, 1, 1, 1), 204, tiles))

    return owned


def _neighborhood(graph: Data, count: int, generator: torch.Generator) -> Tensor:
    """At most ``count`` nodes around one drawn at random: breadth first, through a few neighbors of each."""
    source, target = graph.edge_index
    order = torch.randperm(graph.num_nodes, generator=generator).tolist()
    rank = {node: n for n, node in enumerate(order)}
    seen: dict[int, None] = {}
    for start in order:  # a component may be smaller
        queue = deque([start] if start not in seen else [])
        while queue and len(seen) < count:
            node = queue.popleft()
            if node in seen:
                continue
            seen[node] = None
            near = sorted(set(source[target == node].tolist()) - seen.keys(), key=rank.__getitem__)
            queue.extend(near[:_BRANCHES])
        if len(seen) >= count:
            break
    return torch.tensor(list(seen)[:count])


def _of_nodes(config: RunConfig, task: NodeTask, sample: Tensor) -> Views:
    graph, n, views = task.graph, task.size, config.method.num_views
    inputs = task.views()(sample, views)
    parts = []
    for view in range(views):
        own = inputs.edge_index[:, inputs.edge_index[0] // n == view] - view * n
        parts.append(node_pictures(graph, sample, own))
    owned = _owned(lambda owner: node_pictures(graph, owner))
    return Views(sample, inputs, _glyphs(torch.cat(parts)), owned, task.y, inputs.links)


def _of_graphs(config: RunConfig, task: WholeGraphTask, sample: Tensor) -> Views:
    """Views with the nodes where they are in the whole graph; those that a view lost are left out."""
    maker = task.views()
    whole = maker.take(sample)
    places = torch.zeros(whole.x.size(0), 2)
    for number in range(len(sample)):
        nodes, edges = _part(whole, number)
        places[nodes] = torch.from_numpy(graph_places(len(nodes), edges)).float()
    whole.places = places
    drawn = maker.corrupt(whole, config.method.num_views)
    pictures = []
    for view in drawn:
        for number in range(len(sample)):
            nodes, edges = _part(view, number)
            pictures.append(torch.from_numpy(drawn_graph(view.x[nodes], edges, view.places[nodes].numpy())))
    inputs = stack(drawn, len(sample))
    inputs.num_graphs = config.method.num_views * len(sample)
    owned = _owned(lambda owner: graph_pictures(task.data, owner))
    return Views(sample, inputs, _glyphs(torch.stack(pictures)), owned, task.y)


def _part(graph: Data, number: int) -> tuple[Tensor, list[list[int]]]:
    """The nodes of a graph of a batch, and its edges between their positions."""
    nodes = (graph.batch == number).nonzero().view(-1)
    if not len(nodes):
        return nodes, []
    first, last = int(nodes[0]), int(nodes[-1])
    inside = (graph.edge_index[0] >= first) & (graph.edge_index[0] <= last)
    return nodes, (graph.edge_index[:, inside] - first).t().tolist()
