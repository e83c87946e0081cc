"""Static graphs, as PyG has them: many features on one graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch_geometric.utils import is_sparse

from cl_as_gnn.nn.checks import Got, check_batch, expects
from cl_as_gnn.nn.edges import as_edges

Forward = TypeVar("Forward", bound=Callable[..., Tensor])


def static_graphs(forward: Forward) -> Forward:
    """Let a layer take features ``(B, n, d)`` of B copies of a graph, also as a pair of sources and of targets.

    The layer sees one graph of B · n nodes, whose copies share no edge and, where the layer takes ``batch``, repel only
    themselves.
    """
    signature = inspect.signature(forward)

    @wraps(forward)
    def call(self: Any, x: Any, *values: Any, **named: Any) -> Tensor:
        ends = x if isinstance(x, tuple) and len(x) == 2 else (x,)
        if not all(isinstance(end, Tensor) and end.dim() == 3 for end in ends):
            return forward(self, x, *values, **named)
        given = signature.bind(self, x, *values, **named).arguments
        return _on_copies(self, forward, given, "batch" in signature.parameters)

    return cast(Forward, call)


def _on_copies(layer: Any, forward: Callable[..., Tensor], given: dict[str, Any], all_pairs: bool) -> Tensor:
    """What the layer makes of the copies; ``all_pairs``: nodes repel along no edges, but within graphs of a batch."""
    name, x = type(layer).__name__, given["x"]
    pair = isinstance(x, tuple)
    sources, targets = x if pair else (x, x)
    copies, sizes = sources.size(0), (sources.size(1), targets.size(1))
    if copies == 0 or targets.size(0) != copies:
        raise expects(name, "x", "with at least one copy, and as many of the targets", targets)
    if pair and all_pairs:
        raise expects(name, "x", "as one set of nodes in a static graph", Got("a pair"), "call it for each copy")
    if layer.explain:
        raise expects(name, "x", "of shape (n, d) for an explainer", sources, "explain one copy of the static graph")
    if (size := given.pop("size", None)) is not None and tuple(size) != sizes:
        raise expects(name, "size", f"as {sizes}, that of x", Got(tuple(size)))
    copy = torch.arange(copies, device=sources.device)
    for key in ("edge_index", "affinity_index"):
        if (edges := given.get(key)) is not None:
            if is_sparse(edges):
                raise expects(name, key, "as integers of shape (2, E) in a static graph", edges, "pass to_edge_index")
            weight = given.get("edge_weight") if key == "edge_index" else None
            edges, weight = as_edges(name, (sources[0], targets[0]), edges, weight, key)
            rows = [edges[row].repeat(copies) + sizes[row] * copy.repeat_interleave(edges.size(1)) for row in (0, 1)]
            given[key] = torch.stack(rows)
            if weight is not None:
                given["edge_weight"] = weight.repeat(copies)
    if all_pairs:
        given["batch"] = _graphs(name, given.get("batch"), targets[0], copy)
    flat = sources.flatten(0, 1)
    given["x"] = (flat, targets.flatten(0, 1)) if pair else flat
    out: Tensor = forward(**given).unflatten(0, (copies, sizes[1]))
    return out


def _graphs(name: str, batch: Tensor | None, x: Tensor, copy: Tensor) -> Tensor:
    """The graph of each node of all copies: those of one copy, counted on from copy to copy."""
    check_batch(name, batch, x)
    if batch is None or batch.numel() == 0:
        return copy.repeat_interleave(x.size(0))
    low, high = batch.aminmax()
    return (batch + (high - low + 1) * copy.unsqueeze(1)).flatten()
