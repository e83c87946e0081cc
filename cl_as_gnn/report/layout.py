"""Where a picture of a minibatch graph has its nodes and edges, so that no edge passes under a node it does not join.

The samples lie on a circle, each with its views and what attracts them in a petal that points outwards; edges between
samples run as curves inside the circle, where there are no nodes. Without such edges the petals stand in a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cl_as_gnn.report.batch_graph import ATTRACTION, BatchGraph, Relation

Array = np.ndarray[Any, Any]
_PITCH, _WIDE, _LIFT, _REACH = 1.5, 2.3, 2.1, 0.78
_BORDER = 0.56  # half the side of a node with its frame
_BULGES = sorted((n / 20 for n in range(-32, 33)), key=abs)
_SLIGHT = 0.1  # share of the largest attraction below which a band is not drawn


@dataclass(frozen=True)
class Curve:
    """An edge: a quadratic Bézier curve from ``path[0]`` to ``path[2]``, ``(3, 2)``; a mutual pair is one curve.

    Attributes:
        kind: type of the edge.
        ends: node type and number of source and target.
        path: control points.
        weight: share of the largest weight of its type, of a mutual pair the larger one.
        one_way: whether there is no reverse edge.
        across: whether it joins two classes.
    """

    kind: tuple[str, str, str]
    ends: tuple[tuple[str, int], tuple[str, int]]
    path: Array
    weight: float
    one_way: bool
    across: bool


@dataclass(frozen=True)
class Layout:
    """A picture of a minibatch graph; nodes are squares of side 1.

    Attributes:
        place: centers of the nodes of each type, ``(n, 2)``.
        box: sample of each node, −1 for nodes that are not drawn.
        petals: corners of the petal of each sample, ``(n, 4, 2)``.
        curves: edges, wide bands first.
    """

    place: dict[str, Array]
    box: dict[str, Array]
    petals: Array
    curves: list[Curve]

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner of the picture."""
        corners = np.concatenate([self.petals.reshape(-1, 2), *(c.path for c in self.curves)])
        return corners.min(0) - 0.2, corners.max(0) + 0.2


def lay_out(batch: BatchGraph) -> Layout:
    """Place nodes and edges of a minibatch graph."""
    drawn = {"sample", *batch.images}
    relations = [one for one in batch.relations() if len(one.weight) and {one.kind[0], one.kind[2]} <= drawn]
    box = _boxes(batch, relations)
    between = _between(relations, box)
    size = len(batch.labels["sample"])
    away = any(r.kind[0] != "sample" and _crosses(r, box) for r in relations)
    offset, joined = _inside(box, int(batch.data.num_views), away), bool(between.any())
    everything = np.concatenate([offset[name][box[name] >= 0] for name in box])
    half = np.abs(everything).max(0) + _REACH
    if joined:
        center, along, out = _circle(between, half)
    else:
        center, along, out = _grid(size, half)
    place = {}
    for name, own in offset.items():
        at = np.maximum(box[name], 0)
        place[name] = center[at] + own[:, :1] * along[at] + own[:, 1:] * out[at]
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half - 0.05)
    petals = np.stack([center + x * along + y * out for x, y in corners], axis=1)
    gates = center - half[1] * out
    curves = [
        curve
        for relation in sorted(relations, key=lambda r: r.kind != ATTRACTION)
        for curve in _curves(relation, place, box, (gates, along, half[0]))
    ]
    return Layout(place, box, petals, curves)


def _boxes(batch: BatchGraph, relations: list[Relation]) -> dict[str, Array]:
    """The sample of each node: that of the node which it attracts."""
    views, size = int(batch.data.num_views), len(batch.labels["sample"])
    box = {"view": np.arange(views * size) % size}
    for _ in relations:
        for (source, _, target), (start, end), *_ in relations:
            if source not in ("sample", *box) and target in box:
                box[source] = np.full(len(batch.labels[source]), -1)
                box[source][start] = box[target][end]
    return box


def _owners(relation: Relation, box: dict[str, Array]) -> list[Array]:
    ends = zip(relation.kind[::2], relation.edge_index.numpy(), strict=True)
    return [end if name == "sample" else box[name][end] for name, end in ends]


def _crosses(relation: Relation, box: dict[str, Array]) -> bool:
    source, target = _owners(relation, box)
    return bool((source != target).any())


def _between(relations: list[Relation], box: dict[str, Array]) -> Array:
    """Weights between samples, ``(n, n)``, symmetric and without diagonal."""
    size = int(box["view"].max()) + 1
    total = np.zeros((size, size))
    for relation in relations:
        source, target = _owners(relation, box)
        np.add.at(total, (source, target), (relation.weight / relation.weight.max()).numpy())
    total += total.T
    np.fill_diagonal(total, 0)
    return total


def _inside(box: dict[str, Array], views: int, away: bool) -> dict[str, Array]:
    """Places of the nodes in their petal, across and outwards: sources lie outside of what they attract.

    ``away``: edges leave the views for other samples, so that no view may stand before another.
    """
    offset, top = {}, 0.0
    most = max(int(np.bincount(owner[owner >= 0]).max()) for owner in box.values())
    # So far apart that a straight edge between the ends of two rows passes between the nodes.
    lift = max(_LIFT, 0.95 * (min(most, max(views, 5)) - 1))
    for name, owner in box.items():
        index = np.flatnonzero(owner >= 0)
        order = index[np.argsort(owner[index], kind="stable")]
        rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
        count = int(rank.max()) + 1
        columns = -(-count // -(-count // max(views, 5)))
        row, column = np.divmod(rank, columns)
        across = (column - (columns - 1) / 2) * _PITCH
        if count > columns:  # edges of the outer rows pass between the nodes of the inner ones
            across = (column - (columns - 1) / 2 + 0.5 * (row % 2) - 0.25) * _WIDE
        place = np.stack([across, top + lift * row], 1)
        if len(box) == 1 and not away:
            if views > 2:  # a ring, in which every two views see each other
                turn = 2 * np.pi * (rank / views + (0.125 if views == 4 else 0.25))
                place = max(0.8, 0.62 / np.sin(np.pi / views)) * 1.3 * np.stack([np.cos(turn), np.sin(turn)], 1)
            else:
                place = place[:, ::-1]
        offset[name] = np.zeros((len(owner), 2))
        offset[name][order] = place
        top += lift * (int(row.max()) + 1)
    everything = np.concatenate([offset[name][box[name] >= 0] for name in box])
    middle = (everything.max(0) + everything.min(0)) / 2
    return {name: np.where(box[name][:, None] >= 0, offset[name] - middle, 0) for name in box}


def _circle(between: Array, half: Array) -> tuple[Array, Array, Array]:
    """Centers of the petals, and their directions across and outwards, each ``(n, 2)``."""
    order = _around(between)
    size = len(order)
    turn = np.empty(size)
    turn[order] = np.pi / 2 - 2 * np.pi * np.arange(size) / size
    out = np.stack([np.cos(turn), np.sin(turn)], 1)
    along = np.stack([np.sin(turn), -np.cos(turn)], 1)
    inner = max(2.0, (half[0] + 0.12) / np.tan(np.pi / max(size, 3)))
    return (inner + half[1]) * out, along, out


def _around(between: Array) -> Array:
    """An order on the circle in which heavy edges are short: that of the spectrum, improved by exchanges."""
    size = len(between)
    laplacian = np.diag(between.sum(1)) - between
    order = np.argsort(np.linalg.eigh(laplacian + 1e-6)[1][:, min(1, size - 1)], kind="stable")
    step = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    far = np.minimum(step, size - step).astype(float)
    best = float((between[np.ix_(order, order)] * far).sum())
    for _ in range(4):
        before = best
        for i in range(size):
            for j in range(i + 1, size):
                order[[i, j]] = order[[j, i]]
                cost = float((between[np.ix_(order, order)] * far).sum())
                if cost < best - 1e-9:
                    best = cost
                else:
                    order[[i, j]] = order[[j, i]]
        if best == before:
            break
    return order


def _grid(size: int, half: Array) -> tuple[Array, Array, Array]:
    pitch = 2 * half + 0.3
    columns = int(np.ceil(np.sqrt(size * 1.2 * pitch[1] / pitch[0])))
    # The last row as full as possible.
    columns = min((columns, max(1, columns - 1), columns + 1), key=lambda count: -size % count)
    row, column = np.divmod(np.arange(size), columns)
    center = np.stack([column, -1.0 * row], axis=1) * pitch
    return center, np.tile([1.0, 0.0], (size, 1)), np.tile([0.0, 1.0], (size, 1))


def _curves(
    relation: Relation, place: dict[str, Array], box: dict[str, Array], gate: tuple[Array, Array, float]
) -> list[Curve]:
    pairs = list(zip(*relation.edge_index.tolist(), strict=True))
    share = dict(zip(pairs, (relation.weight / relation.weight.max()).tolist(), strict=True))
    source, _, target = relation.kind
    kept = []
    for pair, one_way, across in zip(pairs, relation.one_way.tolist(), relation.across.tolist(), strict=True):
        weight = share[pair] if one_way else max(share[pair], share[pair[::-1]])
        if (one_way or pair[0] <= pair[1]) and not (relation.kind == ATTRACTION and weight < _SLIGHT):
            kept.append((pair, weight, one_way, across))
    if source == "sample":
        paths = _chords([pair for pair, *_ in kept], *gate)
    else:
        paths = [_path((source, pair[0]), (target, pair[1]), place, box) for pair, *_ in kept]
    return [
        Curve(relation.kind, ((source, pair[0]), (target, pair[1])), path, weight, one_way, across)
        for (pair, weight, one_way, across), path in zip(kept, paths, strict=True)
    ]


def _chords(pairs: list[tuple[int, int]], gates: Array, along: Array, half: float) -> list[Array]:
    """Curves inside the circle; their ends at a petal are spread over its inner side in the order of the other ends."""
    others: dict[int, set[int]] = {}
    for a, b in pairs:
        others.setdefault(a, set()).add(b)
        others.setdefault(b, set()).add(a)
    start = {}
    for own, found in others.items():
        seen = sorted(
            found, key=lambda j: float((gates[j] - gates[own]) @ along[own] / np.linalg.norm(gates[j] - gates[own]))
        )
        for n, j in enumerate(seen):
            spread = 0.0 if len(seen) == 1 else (n / (len(seen) - 1) - 0.5) * 1.3 * min(half, 0.2 * len(seen))
            start[own, j] = gates[own] + spread * along[own]
    paths = []
    for a, b in pairs:
        first, last = start[a, b], start[b, a]
        middle = (first + last) / 2
        near = np.linalg.norm(middle) / np.linalg.norm(first)  # 1 between neighbors, 0 across the circle
        paths.append(np.stack([first, middle * (0.3 + 0.5 * near), last]))
    return paths


def _path(a: tuple[str, int], b: tuple[str, int], place: dict[str, Array], box: dict[str, Array]) -> Array:
    """From border to border of two nodes, bent as far as needed to pass no other node of their petals."""
    first, last = place[a[0]][a[1]], place[b[0]][b[1]]
    petals = {box[name][i] for name, i in (a, b)}
    others = np.array(
        [
            place[name][i]
            for name in box
            for i in np.flatnonzero(np.isin(box[name], list(petals)))
            if (name, int(i)) not in (a, b)
        ]
    ).reshape(-1, 2)
    way = last - first
    middle, normal = (first + last) / 2, np.array([-way[1], way[0]])
    t = np.linspace(0.05, 0.95, 25)[:, None]
    path = np.stack([first, middle, last])
    for bulge in _BULGES:
        bent = middle + bulge * normal if len(petals) == 1 else middle * (0.5 + 0.2 * bulge)
        path = np.stack([_border(first, bent), bent, _border(last, bent)])
        points = (1 - t) ** 2 * path[0] + 2 * t * (1 - t) * path[1] + t**2 * path[2]
        if not (np.abs(points[:, None] - others[None]).max(-1) < _BORDER).any():
            break
    return path


def _border(center: Array, towards: Array) -> Array:
    way = towards - center
    reach: Array = center + way * min(1.0, float((_BORDER / np.maximum(np.abs(way), 1e-9)).min()))
    return reach
