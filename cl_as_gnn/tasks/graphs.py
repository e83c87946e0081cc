"""Runs on graphs: the nodes of one graph are the samples, or many graphs are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import scatter

from cl_as_gnn.config import GNNConfig, GraphDataConfig, RunConfig
from cl_as_gnn.datasets import GraphSet, GraphViews, NodeData, NodeViews
from cl_as_gnn.encoders import GraphEncoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import (
    Probe,
    alignment,
    cross_validated_svm,
    edge_purity,
    effective_rank,
    few_label_probe,
    knn_accuracy,
    leave_one_out_knn,
    span_coordinates,
    uniformity,
    validated_probe,
)
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.methods import Method
from cl_as_gnn.nn.operators import Adjacency

_PURITY_K = 10
_GEOMETRY_SAMPLES = 4096
_POWERS = range(9)
Scores = dict[str, Any]


def propagated(graph: Data) -> list[Tensor]:
    """Âᵏ X for k from 0 to 8, Â the symmetrically normalized graph with self-loops: GCNs without weights."""
    n = graph.x.size(0)
    edge_index, weight = gcn_norm(graph.edge_index, None, n)
    walk = Adjacency(edge_index, weight, n)
    powers = [graph.x.float()]
    for _ in _POWERS[1:]:
        powers.append(walk.matmul(powers[-1]))
    return powers


class _GraphTask:
    """What runs on graphs of either kind share; see :class:`cl_as_gnn.tasks.base.Task`."""

    pool: str | None = None
    inputs: Tensor | None = None
    size: int
    graph: Data

    def __init__(self, config: RunConfig):
        assert isinstance(config.data, GraphDataConfig)
        assert isinstance(config.encoder, GNNConfig)
        self.config, self.data_config, self.gnn = config, config.data, config.encoder

    def encoder(self) -> GraphEncoder:
        return GraphEncoder(self.graph.x.size(1), self.gnn, self.pool)

    def header(self) -> dict[str, Any]:
        return {"gnn": self.gnn.model_dump(), "in_channels": self.graph.x.size(1), "pool": self.pool}

    @torch.no_grad()
    def embed(self, encoder: nn.Module, device: torch.device | str) -> Tensor:
        """Features of every sample in eval mode, without augmentation, float32, on the CPU."""
        was_training = encoder.training
        encoder.eval()
        out: Tensor = encoder(self.graph.clone().to(device)).float().cpu()
        encoder.train(was_training)
        return out

    @torch.no_grad()
    def _geometry(
        self, method: Method[Any], views: nn.Module, x: Tensor, labels: Tensor, device: torch.device
    ) -> Scores:
        torch.manual_seed(self.config.seed)
        sample = torch.linspace(0, self.size - 1, min(_GEOMETRY_SAMPLES, self.size)).long()
        z = F.normalize(method.project(views(sample.to(device), 2)).float().cpu(), dim=1).chunk(2)
        x, labels = x[sample], labels[sample]
        out = {"alignment": alignment(z[0], z[1]), "uniformity": uniformity(z[0]), "effective_rank": effective_rank(x)}
        if len(x) > _PURITY_K:
            out["edge_purity"] = edge_purity(knn_edges(x, _PURITY_K)[0], labels)
        return out


class NodeTask(_GraphTask):
    """A run on the nodes of one graph, scored on its split."""

    kind, unit = "nodes", "nodes"

    def __init__(self, config: RunConfig, data: NodeData):
        super().__init__(config)
        self.data, self.graph, self.name = data, data.graph, data.name
        self.size = data.graph.x.size(0)
        self.y: Tensor = data.graph.y
        self.scored = data.test
        if config.eval.split == "validation":
            if not bool(data.validation.any()):
                raise ConfigError(f"data.name={config.data.name} has no validation nodes: use eval.split=test")
            self.scored = data.validation
        self.labels: Tensor | None = torch.where(data.train, self.y, -1)
        known = data.train | data.validation
        enough = bool((torch.bincount(self.y[known], minlength=int(self.y.max()) + 1) > 1).all())
        self._watched = known.nonzero().view(-1)[: config.eval.online_size] if enough else None

    def views(self) -> NodeViews:
        return NodeViews(self.data, self.data_config.augment)

    def online(self, encoder: nn.Module, device: torch.device) -> float | None:
        if self._watched is None:
            return None
        k = min(self.config.eval.knn_k, len(self._watched) - 1)
        x = self.embed(encoder, device)[self._watched]
        return leave_one_out_knn(x, self.y[self._watched], k, self.config.eval.knn_temperature)

    def features(self, encoder: nn.Module, device: torch.device) -> dict[str, Tensor]:
        x = self.embed(encoder, device)
        out = {"nodes": x, "nodes_labels": self.y}
        for name in ("train", "validation", "test"):
            mask = getattr(self.data, name)
            if bool(mask.any()):
                out |= {name: x[mask], f"{name}_labels": self.y[mask]}
        return out

    def probe(self, x: Tensor) -> Probe:
        """The linear probe on features of all nodes."""
        return validated_probe(x, self.y, self.data.train, self.data.validation, self.scored)

    def score(self, features: dict[str, Tensor]) -> Scores:
        x = features["nodes"]
        probe = self.probe(x)
        return {**self._others(x), "linear_top1": probe.test, "validation_top1": probe.validation, "probe_C": probe.C}

    def _others(self, x: Tensor) -> Scores:
        train, config = self.data.train, self.config.eval
        x = span_coordinates(x, train)
        bank, y, query, truth = x[train], self.y[train], x[self.scored], self.y[self.scored]
        smallest = int(torch.bincount(y).min())
        k = min(config.knn_k, len(bank))
        few = {
            f"label{n}_top1": few_label_probe(bank, y, query, truth, n, config.draws)[0] if smallest >= n else None
            for n in (1, 10)
        }
        return {"knn_top1": knn_accuracy(bank, y, query, truth, k, config.knn_temperature), "linear_top1": None, **few}

    def geometry(
        self, method: Method[Any], views: nn.Module, features: dict[str, Tensor], device: torch.device
    ) -> Scores:
        return self._geometry(method, views, features["nodes"], self.y, device)

    def baselines(self, device: torch.device) -> dict[str, Scores]:
        torch.manual_seed(self.config.seed)
        untrained = self.score(self.features(self.encoder().to(device), device))
        powers = propagated(self.graph)
        probes = [self.probe(power) for power in powers]
        # Where nothing is held out to choose by, the two hops of a usual GCN.
        k = max(_POWERS, key=lambda k: probes[k].validation or 0) if probes[0].validation is not None else 2
        floor = {**self._others(powers[k]), "linear_top1": probes[k].test, "validation_top1": probes[k].validation}
        raw = {**self._others(powers[0]), "linear_top1": probes[0].test, "validation_top1": probes[0].validation}
        return {"untrained encoder": untrained, "AᵏX, no training": {**floor, "k": k}, "X, no graph": raw}

    def protocol(self) -> str:
        data, config = self.data, self.config.eval
        k = min(config.knn_k, int(data.train.sum()))
        split = "PyG's" if self.config.data.name == "karate" else "public"
        counts = [f"{int(mask.sum()):,}" for mask in (data.train, data.validation, data.test)]
        chosen = "C chosen on the validation nodes" if bool(data.validation.any()) else "C=1, nothing held out"
        return (
            f"transductive, frozen encoder in eval mode on the whole graph, no augmentation, features before the "
            f"projector; {split} split ({counts[0]} training, {counts[1]} validation, {counts[2]} test nodes), scored "
            f"on the {config.split} nodes; linear: logistic regression on unit features, {chosen}; knn: weighted, "
            f"cosine, training nodes as bank, k={k}, T={config.knn_temperature:g}; labelN: N of the "
            f"training labels a class, C=10, mean of {config.draws} draws; AᵏX: the same probe on inputs averaged over "
            "k hops, k chosen alike"
        )


class WholeGraphTask(_GraphTask):
    """A run on many graphs, scored by cross-validation over them."""

    kind, unit = "graphs", "graphs"
    labels: Tensor | None = None  # cross-validation leaves none that training may see

    def __init__(self, config: RunConfig, data: GraphSet):
        super().__init__(config)
        if config.eval.split != "test":
            raise ConfigError("data.name=tu is scored by cross-validation, without a validation split: drop eval.split")
        self.data, self.name, self.size, self.y = data, data.name, len(data), data.labels
        self.graph = data.graph
        self.graph.num_graphs = len(data)
        self.pool = self.gnn.pool or "sum"
        self._watched = torch.linspace(0, self.size - 1, min(config.eval.online_size, self.size)).long()

    def views(self) -> GraphViews:
        return GraphViews(self.data, self.data_config.augment)

    def online(self, encoder: nn.Module, device: torch.device) -> float | None:
        x = self.embed(encoder, device)[self._watched]
        k = min(self.config.eval.knn_k, len(x) - 1)
        return leave_one_out_knn(x, self.y[self._watched], k, self.config.eval.knn_temperature)

    def features(self, encoder: nn.Module, device: torch.device) -> dict[str, Tensor]:
        return {"graphs": self.embed(encoder, device), "graphs_labels": self.y}

    def score(self, features: dict[str, Tensor]) -> Scores:
        x = features["graphs"]
        folds = min(10, int(torch.bincount(self.y).min()))
        accuracy, spread = cross_validated_svm(x, self.y, folds)
        k = min(self.config.eval.knn_k, len(x) - 1)
        return {
            "knn_top1": leave_one_out_knn(x, self.y, k, self.config.eval.knn_temperature),
            "linear_top1": accuracy,
            "label1_top1": None,
            "label10_top1": None,
            "fold_std": spread,
        }

    def geometry(
        self, method: Method[Any], views: nn.Module, features: dict[str, Tensor], device: torch.device
    ) -> Scores:
        return self._geometry(method, views, features["graphs"], self.y, device)

    def baselines(self, device: torch.device) -> dict[str, Scores]:
        torch.manual_seed(self.config.seed)
        fresh = self.encoder().to(device)
        inputs = scatter(self.graph.x.float(), self.graph.batch, dim=0, dim_size=self.size, reduce="sum")
        return {
            "untrained encoder": self.score(self.features(fresh, device)),
            "sum of inputs": self.score({"graphs": inputs}),
        }

    def protocol(self) -> str:
        config = self.config.eval
        return (
            f"frozen encoder in eval mode, no augmentation, features before the projector, {self.pool} over the nodes "
            f"of each of {self.size:,} graphs; linear_top1: SVM (RBF kernel), 10-fold cross-validation, C chosen by "
            f"5-fold cross-validation inside the training folds; knn: leave one out, weighted, cosine, "
            f"k={min(config.knn_k, self.size - 1)}, T={config.knn_temperature:g}; training saw all graphs and no label"
        )
