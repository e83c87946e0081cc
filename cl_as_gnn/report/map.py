"""The map of a run's features, and maps of several runs side by side: data for ``static/map.js``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from cl_as_gnn.graph.knn import nearest
from cl_as_gnn.report.markup import atlas, embedded_json, palette
from cl_as_gnn.report.plane import Plane, clusters, planes, principal_axes
from cl_as_gnn.report.shown import Shown

Array = np.ndarray[Any, Any]
_NEIGHBORS = 6
_JUDGED = {"right": "#2e8b57", "wrong": "#d1495b"}
_STEPS = 4096  # of the longer side of a plane


def groups(found: Mapping[str, Shown]) -> list[dict[str, Shown]]:
    """Runs, by name, that show the same samples, group by group."""
    out: list[dict[str, Shown]] = []
    for name, one in found.items():
        for group in out:
            first = next(iter(group.values()))
            same = first.task.name == one.task.name and first.asked.names == one.asked.names
            if same and torch.equal(first.asked.labels, one.asked.labels):
                group[name] = one
                break
        else:
            out.append({name: one})
    return out


def feature_map(found: Mapping[str, Shown], plane: Plane = "auto", share: int = 1) -> str:
    """Return a figure with the maps of runs that show the same samples, a pane for each.

    Args:
        found: what the runs show, by name.
        plane: how features become coordinates.
        share: number of such figures on the page, which share the room for pictures.
    """
    first = next(iter(found.values()))
    at, several = first.mapped, len(found) > 1
    labels = first.asked.labels[at]
    runs, groups_of, shares = [], {}, []
    for name, one in found.items():
        x = one.asked.x[at]
        shares.append(f"{100 * principal_axes(x)[1]:.0f}")
        groups_of[name] = clusters(x)
        runs.append(_run(name if several else "", one, x, plane))
    picture, side, columns = atlas(first.asked.pictures(at).numpy(), first.kind != "images", share)
    data = {
        "kind": first.kind,
        "side": side,
        "columns": columns,
        "names": [first.asked.names[i] for i in at.tolist()],
        "classes": list(first.classes),
        "labels": labels.tolist(),
        "pictures": not first.classes,
        "colorings": _colorings(found, labels.numpy(), groups_of),
        "runs": runs,
    }
    said = _said(first, len(at), list(runs[0]["planes"]), ", ".join(shares))
    return (
        '<figure class="feature-map"><div class="stage">'
        '<noscript><p class="note">The map needs JavaScript.</p></noscript>'
        f'</div><img class="atlas" alt="" hidden="hidden" src="{picture}"/>{embedded_json(data)}'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _run(label: str, one: Shown, x: torch.Tensor, plane: Plane) -> dict[str, Any]:
    similarity, near = nearest(x, min(_NEIGHBORS, len(x) - 1)) if len(x) > 1 else (x.new_zeros(1, 0), x.new_zeros(1, 0))
    out: dict[str, Any] = {
        "label": label,
        "planes": [{"name": name, **_fitted(points)} for name, points in planes(x, plane).items()],
        "near": near.long().tolist(),
        "similarity": [[round(value, 2) for value in row] for row in similarity.tolist()],
    }
    if one.classes:
        sure, predicted = one.votes[one.mapped].max(1)
        out |= {"predicted": predicted.tolist(), "sure": (100 * sure).round().int().tolist()}
    return out


def _fitted(points: Array) -> dict[str, Any]:
    """Whole numbers from 0, the longer side up to ``_STEPS``."""
    low, high = points.min(0), points.max(0)
    scale = _STEPS / max(float((high - low).max()), 1e-9)
    whole = np.rint((points - low) * scale).astype(int)
    return {"points": whole.ravel().tolist(), "extent": np.maximum(whole.max(0), 1).tolist()}


def _colorings(found: Mapping[str, Shown], labels: Array, groups_of: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Ways to color the samples: their values, for each run or for all, with a name and a color for each value."""

    def coloring(name: str, values: Sequence[Array], colors: Mapping[str, str]) -> dict[str, Any]:
        shared = [v.tolist() for v in values]
        return {"name": name, "values": shared, "names": list(colors), "colors": list(colors.values())}

    def numbered(values: Sequence[Array]) -> dict[str, str]:
        return palette([str(i + 1) for i in range(max(int(v.max()) for v in values) + 1)])

    first, several = next(iter(found.values())), len(found) > 1
    out = []
    if first.classes:
        out.append(coloring("class", [labels], palette(first.classes)))
        judged = [(one.votes[one.mapped].argmax(1).numpy() != labels).astype(int) for one in found.values()]
        out.append(coloring("right or wrong", judged, _JUDGED))
    own = list(groups_of.values())
    out.append(coloring("own clusters" if several else "cluster", own, numbered(own)))
    if several:
        out += [coloring(f"clusters of {name}", [values], numbered([values])) for name, values in groups_of.items()]
    return out


def _said(first: Shown, count: int, planes: Sequence[Mapping[str, Any]], shares: str) -> str:
    kind = first.kind
    split = f"of the {first.split} split" if first.split != "whole" else "of the data set"
    some = f"{count:,} of the {first.scored:,}" if count < first.scored else f"{count:,}"
    where = " or ".join(plane["name"] for plane in planes)
    judge = ""
    if first.classes:
        judge = f" Right or wrong: the vote of the nearest of {len(first.bank):,} labeled {kind}, as in the kNN score."
    return (
        f"Unit features of {some} {kind} {split}, in the plane of {where} (PCA: {shares} % of the variance). "
        f"Clusters: Louvain communities of the graph of 15 nearest neighbors.{judge} Lines go to the nearest {kind} in "
        "feature space, not in the plane. Ctrl and the wheel, + and −, or two fingers zoom; drag to move; a name in "
        "the legend shows its own alone."
    )
