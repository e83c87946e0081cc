"""The graph that a method builds from one minibatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import RunConfig
from cl_as_gnn.graph.co_occurrence import joint, two_hops
from cl_as_gnn.graph.schema import AUGMENTATION, REWIRED, TARGET_AUGMENTATION, TOKEN_TARGET
from cl_as_gnn.methods import Batch, Method
from cl_as_gnn.nn.operators import Mixture
from cl_as_gnn.nn.terms import Attraction
from cl_as_gnn.report.views import drawn_views
from cl_as_gnn.tasks import Task

ATTRACTION = ("sample", "attraction", "sample")
"""A sample and one whose views attract to it. The weights are read off the method's operators."""


LINK = ("sample", "link", "sample")
"""An edge of the graph whose nodes are the samples."""


class Relation(NamedTuple):
    """The edges of one type with positive weight, from row 0 to row 1.

    The mask ``one_way`` holds the edges without a reverse edge, ``same`` those within a class and ``across`` those
    between two known classes. Messages flow only if the relation ``attracts``: a method may build edges that its terms
    do not use.
    """

    kind: tuple[str, str, str]
    edge_index: Tensor
    weight: Tensor
    one_way: Tensor
    same: Tensor
    across: Tensor
    attracts: bool

    def __str__(self) -> str:
        source, name, target = self.kind
        count, one_way = len(self.weight), int(self.one_way.sum())
        if not count:
            return f"{name} ({source} → {target}): no edges"
        low, high = self.weight.min(), self.weight.max()
        weights = f"weight {low:.2g}" if high - low < 0.01 * high else f"weight {low:.2g} … {high:.2g}"
        way = "mutual" if not one_way else "one-way" if one_way == count else f"{one_way} one-way"
        text = f"{name} ({source} → {target}): {count} edges, {way}, {weights}"
        within, across = float(self.weight[self.same].sum()), float(self.weight[self.across].sum())
        if source in ("sample", "neighbour") and within + across:
            text += f", {100 * within / (within + across):.0f} % of it within a class"
        return text if self.attracts else text + "; not attracted along"


@dataclass
class BatchGraph:
    """A minibatch graph with images and labels of its nodes. Hidden patches and tokens have no image, and no place in
    the picture: their two hops are the attraction between samples.

    Attributes:
        data: result of ``Method.graph`` and ``Method.rewire``, and :data:`ATTRACTION` edges if samples attract others.
        images: images ``(nodes, H, W, 3)`` in [0, 1] for each node type with edges that is drawn.
        labels: class of each node for all of these types, −1 if unknown.
        gate: agreement of the views' neighborhoods and share λ, if the method has them.
        one_way: whether views attract only to nodes that receive no message from them.
    """

    data: HeteroData
    images: dict[str, np.ndarray[Any, Any]]
    labels: dict[str, Tensor]
    gate: dict[str, float]
    one_way: bool

    def relations(self) -> list[Relation]:
        """Return the edges of each type."""
        return [self._relation(kind) for kind in self.data.edge_types]

    def _relation(self, kind: tuple[str, str, str]) -> Relation:
        store, kinds = self.data[kind], self.data.edge_types
        weight = store.get("edge_weight", torch.ones(store.edge_index.size(1))).float()
        (source, target), weight = store.edge_index[:, weight > 0], weight[weight > 0]
        one_way = torch.ones_like(source, dtype=torch.bool)
        if kind[0] == kind[2] and len(source):
            size = 1 + int(store.edge_index.max())
            one_way = ~torch.isin(source * size + target, target * size + source)
        own, other = self.labels[kind[0]][source], self.labels[kind[2]][target]
        known = (own >= 0) & (other >= 0)
        same, across = known & (own == other), known & (own != other)
        attracts = not (
            (kind[0] == "sample" and ATTRACTION not in kinds)
            or kind == LINK
            or (kind == TARGET_AUGMENTATION and REWIRED in kinds)
            or (kind == AUGMENTATION and self.one_way)
        )
        return Relation(kind, torch.stack([source, target]), weight, one_way, same, across, attracts)

    def lines(self) -> list[str]:
        """Describe the graph: one line per edge type, per node type that is not drawn, and for the gate."""
        lines = [str(relation) for relation in self.relations()]
        alone = [name for name in self.data.node_types if name not in self.labels]
        lines += [f"{name}: {len(self.data[name].x)} nodes without edges, not drawn" for name in alone]
        lines += [
            f"{name}: {len(self.data[name].x)} nodes, not drawn" for name in ("token", "patch") if name in self.labels
        ]
        if self.gate:
            lines.append("gate: " + ", ".join(f"{name} {value:.2f}" for name, value in self.gate.items()))
        return lines


@torch.no_grad()
def batch_graph(config: RunConfig, task: Task, method: Method[Any], samples: int) -> BatchGraph:
    """Build the graph of one minibatch as at the end of training; the seed of the config selects the samples."""
    views = drawn_views(config, task, samples)
    sample = views.sample
    known = None if task.labels is None else task.labels[sample]
    batch = Batch(views.inputs, sample, 1.0, known)
    torch.manual_seed(config.seed)
    method.begin_epoch(1.0)
    # Only the method itself is in training mode: it drops edges, while its networks stay in eval mode.
    method.training = True
    data = method.rewire(method.graph(batch), batch)
    method.training = False
    # Deep Graph Infomax has a loss of its own in place of terms.
    found = method.terms(data, batch) if type(method).terms is not Method.terms else []
    terms = [term for term in found if isinstance(term, Attraction)]
    gate = [("agreement", float(store.agreement)) for store in data.edge_stores if "agreement" in store]
    gate += [("λ", float(term.graph.weight)) for term in terms if isinstance(term.graph, Mixture)]
    into_views = any(source != "view" for source, _, target in data.edge_types if target == "view")
    one_way = into_views and all(term.source is not None for term in terms)
    _add_attraction(data, terms, len(sample), one_way)
    if TOKEN_TARGET in data.edge_types:
        _add_two_hops(data, len(sample))
    if views.links is not None:
        data[LINK].edge_index = views.links
    images, labels = {}, {"sample": views.labels[sample]}
    for name in {end for source, _, target in data.edge_types for end in (source, target)} - {"sample"}:
        owner = data[name].get("sample", torch.full((len(data[name].x),), -1))
        if name in ("view", "target"):
            owner, tiles = sample.repeat(int(data.num_views)), views.pictures
            if len(owner) > len(tiles):  # a node for each group of channels of a view
                tiles = _groups(tiles, config.encoder.model_dump()["split"])
            images[name] = tiles
        elif name not in ("token", "patch"):
            images[name] = views.owned(owner)
        labels[name] = torch.where(owner < 0, -1, views.labels[owner])
    return BatchGraph(data, images, labels, dict(gate), one_way)


def _groups(tiles: np.ndarray[Any, Any], split: int) -> np.ndarray[Any, Any]:
    """Views twice, as each of two encoders sees them: the channels of the other are gray."""
    first, rest = tiles.copy(), tiles.copy()
    first[..., split:], rest[..., :split] = 0.5, 0.5
    return np.concatenate([first, rest])


def _add_attraction(data: HeteroData, terms: list[Attraction], size: int, one_way: bool) -> None:
    """Add the weights between different samples of the operators A, which may have no edge list.

    Weights are summed over the views of the source and averaged over those of the target. Where both ends receive the
    message, the weights are those of ½(A + Aᵀ).
    """
    n, views = data["view"].x.size(0), int(data.num_views)
    square = [term for term in terms if not isinstance(term.source, Tensor) or term.source.size(0) == n]
    total = sum((term.graph.matmul(torch.eye(n)) for term in square), torch.zeros(n, n))
    between = total.view(views, size, views, size).sum(2).mean(0).fill_diagonal_(0)
    between = between if one_way else (between + between.t()) / 2
    target, source = (between > 1e-6).nonzero().t()
    if len(source):
        data[ATTRACTION].edge_index = torch.stack([source, target])
        data[ATTRACTION].edge_weight = between[target, source]


def _add_two_hops(data: HeteroData, size: int) -> None:
    """Add the weights between different samples over the tokens that they are to predict."""
    edges = data[TOKEN_TARGET]
    kept = edges.get("edge_weight", torch.ones(edges.edge_index.size(1))) > 0
    target = edges.get("target", edges.edge_index[0])[kept]  # tokens, or tokens at a place
    owner = data["patch"].view[edges.edge_index[1, kept]]
    meet = two_hops(joint(owner, target, size, 1 + int(target.max()))).fill_diagonal_(0)
    target, source = meet.nonzero().t()
    data[ATTRACTION].edge_index, data[ATTRACTION].edge_weight = torch.stack([source, target]), meet[target, source]
