"""Runs on one graph: its nodes are the samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import NodeData, NodeViews
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import Probe, span_coordinates, validated_probe
from cl_as_gnn.evaluation.scores import measured
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.tasks.base import Features, GraphTask, Scores, knn_and_few_labels

_POWERS = range(9)


def propagated(graph: Data) -> list[Tensor]:
    """Âᵏ X for k from 0 to 8, Â the symmetrically normalized graph with self-loops: GCNs without weights."""
    n = graph.x.size(0)
    edge_index, weight = gcn_norm(graph.edge_index, None, n)
    walk = Adjacency(edge_index, weight, n)
    powers = [graph.x.float()]
    for _ in _POWERS[1:]:
        powers.append(walk.matmul(powers[-1]))
    return powers


class NodeTask(GraphTask):
    """A run on the nodes of one graph, scored on its split; ConfigError if ``eval.split`` has no nodes."""

    kind, unit = "nodes", "nodes"

    def __init__(self, config: RunConfig, data: NodeData):
        super().__init__(config)
        self.data, self.graph, self.name = data, data.graph, data.name
        self.y: Tensor = data.graph.y
        # Without labels nothing is scored among neighbors.
        self.size, self.reference = len(self.y), int(data.train.sum()) if self.labeled else config.eval.knn_k
        self.scored = data.test
        if config.eval.split == "validation" and self.labeled:
            if not bool(data.validation.any()):
                raise ConfigError(f"data.name={config.data.name} has no validation nodes: use eval.split=test")
            self.scored = data.validation
        self.labels = torch.where(data.train, self.y, -1) if self.labeled else None
        known = data.train | data.validation
        enough = bool((torch.bincount(self.y[known], minlength=int(self.y.max()) + 1) > 1).all())
        self.watched = known.nonzero().view(-1)[: config.eval.online_size] if enough and self.labeled else None

    def views(self) -> NodeViews:
        return NodeViews(self.data, self.data_config.augment)

    def features(self, encoder: nn.Module, device: torch.device, scored: bool = False) -> Features:
        return self._splits(self.embed(encoder, device))

    def _splits(self, x: Tensor) -> Features:
        out = {"nodes": x, "nodes_labels": self.y}
        for name in ("train", "validation", "test"):
            mask = getattr(self.data, name)
            if bool(mask.any()):
                out |= {name: x[mask], f"{name}_labels": self.y[mask]}
        return out

    def probe(self, x: Tensor) -> Probe:
        """The linear probe on features of all nodes."""
        return validated_probe(x, self.y, self.data.train, self.data.validation, self.scored)

    def _score(self, features: Features) -> Scores:
        if not self.labeled:
            return {}
        probe = self.probe(features["nodes"])
        return {**self._accuracies(features["nodes"], probe), "probe_C": probe.C}

    def _accuracies(self, x: Tensor, probe: Probe) -> Scores:
        train = self.data.train
        x = span_coordinates(x, train)
        near = knn_and_few_labels(x[train], self.y[train], x[self.scored], self.y[self.scored], self.config.eval)
        return {**near, "linear_top1": probe.test, "validation_top1": probe.validation}

    def _floors(self) -> dict[str, Scores]:
        if not self.labeled:
            return {}
        powers = propagated(self.graph)
        probes = [self.probe(power) for power in powers]
        # Without validation nodes to choose by, the two hops of a usual GCN.
        k = max(_POWERS, key=lambda k: probes[k].validation or 0) if probes[0].validation is not None else 2
        floor, raw = ({**self._accuracies(powers[i], probes[i]), **measured(self._splits(powers[i]))} for i in (k, 0))
        return {"AᵏX, no training": {**floor, "k": k}, "X, no graph": raw}

    def protocol(self) -> str:
        if not self.labeled:
            return self._label_free()
        data, config = self.data, self.config.eval
        k = min(config.knn_k, self.reference)
        split = {"karate": "PyG's", "communities": "fixed", "given_nodes": "given or drawn"}.get(
            self.config.data.name, data.split
        )
        counts = [f"{int(mask.sum()):,}" for mask in (data.train, data.validation, data.test)]
        chosen = "C chosen on the validation nodes" if bool(data.validation.any()) else "C=1, nothing held out"
        return (
            f"transductive, frozen encoder in eval mode on the whole graph, no augmentation, features before the "
            f"projector; {split} split ({counts[0]} training, {counts[1]} validation, {counts[2]} test nodes), scored "
            f"on the {config.split} nodes; linear: logistic regression on unit features, {chosen}; knn: weighted, "
            f"cosine, training nodes as bank, k={k}, T={config.knn_temperature:g}; labelN: N training labels per "
            f"class, C=10, mean of {config.draws} draws; AᵏX: the same probe on inputs averaged over k hops, k chosen "
            "in the same way"
        )
