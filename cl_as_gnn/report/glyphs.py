"""Small pictures of nodes and of whole graphs, where images have thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import k_hop_subgraph

from cl_as_gnn.datasets import GraphSet
from cl_as_gnn.report.markup import palette

Array = np.ndarray[Any, Any]
_SIDE, _FINE = 96, 2  # pixels, and how many times larger a picture is drawn
_SHOWN = 24  # neighbors of a node
_GROUND, _EDGE, _UNKNOWN = (255, 255, 255), (110, 118, 130), (86, 110, 160)


@cache
def _colors(count: int) -> tuple[tuple[int, ...], ...]:
    shades = palette([str(i) for i in range(count)]).values()
    return tuple(ImageColor.getrgb(shade) for shade in shades)


def _drawn(points: Array, edges: Sequence[Sequence[int]], colors: Sequence[tuple[int, ...]], first: float) -> Array:
    """A picture ``(3, s, s)`` of points in [−1, 1]²; ``first`` is how much larger the first point is."""
    side = _SIDE * _FINE
    picture = Image.new("RGB", (side, side), _GROUND)
    draw = ImageDraw.Draw(picture)
    radius = side * min(0.055, 0.2 / max(1, len(points)) ** 0.5)
    place = side / 2 + points * (side / 2 - 2.2 * radius)
    for a, b in edges:
        draw.line([tuple(place[a]), tuple(place[b])], fill=_EDGE, width=_FINE + 1)
    for i in reversed(range(len(points))):
        r = radius * (first if i == 0 else 1)
        draw.ellipse([*(place[i] - r), *(place[i] + r)], fill=colors[i], outline=_GROUND)
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.array(small).transpose(2, 0, 1)


def node_pictures(graph: Data, nodes: Tensor, edge_index: Tensor | None = None) -> Tensor:
    """Nodes in the middle of their neighbors (at most 24), in the colors of their classes, one where unknown.

    Returns uint8 ``(m, 3, s, s)``.

    Args:
        graph: with ``y`` (−1: unknown) and ``edge_index``.
        nodes: which ones, ``(m,)``.
        edge_index: of a view of the graph, in place of that of the graph; a neighbor that the view lost stays pale.
    """
    shades = (*_colors(max(1, int(graph.y.max()) + 1)), _UNKNOWN)  # the last for y = −1
    out = []
    for node in nodes.tolist():
        ring = k_hop_subgraph(node, 1, graph.edge_index, num_nodes=graph.num_nodes, directed=False)[0]
        members = [node, *(i for i in ring.tolist() if i != node)][: _SHOWN + 1]
        where = {i: n for n, i in enumerate(members)}
        own = graph.edge_index if edge_index is None else edge_index
        kept = torch.isin(own, torch.tensor(members)).all(0)
        edges = [(where[a], where[b]) for a, b in own[:, kept].t().tolist()]
        joined = {0, *(b for a, b in edges if a == 0), *(a for a, b in edges if b == 0)}
        turn = 2 * np.pi * np.arange(len(members) - 1) / max(1, len(members) - 1)
        points = np.concatenate([np.zeros((1, 2)), 0.95 * np.stack([np.sin(turn), -np.cos(turn)], 1)])
        colors = [
            shades[int(graph.y[i])] if n in joined else tuple((c + 3 * 235) // 4 for c in shades[int(graph.y[i])])
            for n, i in enumerate(members)
        ]
        out.append(_drawn(points, edges, colors, 1.7))
    return torch.from_numpy(np.stack(out)) if out else torch.zeros(0, 3, _SIDE, _SIDE, dtype=torch.uint8)


def graph_pictures(data: GraphSet, graphs: Tensor) -> Tensor:
    """Whole graphs, nodes in the colors of their largest feature: uint8 ``(m, 3, s, s)``."""
    return torch.from_numpy(np.stack([_graph(data, i) for i in graphs.tolist()]))


def _graph(data: GraphSet, number: int) -> Array:
    nodes = (data.graph.batch == number).nonzero().view(-1)
    first, last = int(nodes[0]), int(nodes[-1])
    inside = (data.graph.edge_index[0] >= first) & (data.graph.edge_index[0] <= last)
    edges = (data.graph.edge_index[:, inside] - first).t().tolist()
    return drawn_graph(data.graph.x[nodes], edges, graph_places(len(nodes), edges))


def graph_places(count: int, edges: Sequence[Sequence[int]]) -> Array:
    """Places of the nodes of a small graph in [−1, 1]²."""
    net = nx.Graph()
    net.add_nodes_from(range(count))
    net.add_edges_from(edges)
    found = nx.spring_layout(net, seed=0) if count > 60 or not nx.is_connected(net) else nx.kamada_kawai_layout(net)
    points = np.array([found[i] for i in range(count)])
    points -= (points.max(0) + points.min(0)) / 2
    extent: Array = points / max(1e-9, float(np.abs(points).max()))
    return extent


def drawn_graph(x: Tensor, edges: Sequence[Sequence[int]], places: Array) -> Array:
    """A picture ``(3, s, s)`` of a graph with features ``x`` ``(n, f)`` at ``places`` in [−1, 1]²."""
    shades = _colors(max(2, min(x.size(1), 12)))
    kinds = (x.argmax(1) % len(shades)).tolist() if len(x) else []
    return _drawn(places, edges, [shades[kind] for kind in kinds], 1.0)
