"""Runs on many graphs: each is a sample."""

from __future__ import annotations

import torch
from torch import nn
from torch_geometric.utils import scatter

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import GraphSet, GraphViews, evenly
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import cross_validated_svm
from cl_as_gnn.tasks.base import Features, GraphTask, Scores


class WholeGraphTask(GraphTask):
    """A run on many graphs, scored by cross-validation over all of them: no validation split, no labels in training."""

    kind, unit = "graphs", "graphs"

    def __init__(self, config: RunConfig, data: GraphSet):
        super().__init__(config)
        if config.eval.split != "test":
            raise ConfigError(
                f"data.name={config.data.name} is scored by cross-validation, without a validation split: drop "
                "eval.split"
            )
        self.data, self.name, self.size, self.y = data, data.name, len(data), data.labels
        self.reference = self.size - 1
        self._folds = _folds(data) if self.labeled else 0
        self.graph = data.graph
        self.graph.num_graphs = len(data)
        self.pool = getattr(config.encoder, "pool", None) or "sum"
        self.watched = evenly(config.eval.online_size, self.size) if self.labeled else None

    def views(self) -> GraphViews:
        return GraphViews(self.data, self.data_config.augment)

    def features(self, encoder: nn.Module, device: torch.device, scored: bool = False) -> Features:
        return {"graphs": self.embed(encoder, device), "graphs_labels": self.y}

    def _score(self, features: Features) -> Scores:
        if not self.labeled:
            return {}
        x = features["graphs"]
        accuracy, spread = cross_validated_svm(x, self.y, self._folds)
        few = dict.fromkeys(("label1_top1", "label10_top1"))
        return {"knn_top1": self._leave_one_out(x, self.y), "linear_top1": accuracy, **few, "fold_std": spread}

    def _floors(self) -> dict[str, Scores]:
        if not self.labeled:
            return {}
        inputs = scatter(self.graph.x.float(), self.graph.batch, dim=0, dim_size=self.size, reduce="sum")
        return {"sum of inputs": self.score({"graphs": inputs, "graphs_labels": self.y})}

    def protocol(self) -> str:
        if not self.labeled:
            return self._label_free()
        config, pool = self.config.eval, f"{self.pool} over the nodes"
        if self.config.encoder.name == "given_gnn":
            pool = f"pooled by the module, or as {pool}"
        return (
            f"frozen encoder in eval mode, no augmentation, features before the projector, {pool} "
            f"of each of {self.size:,} graphs; linear_top1: SVM (RBF kernel), 10-fold cross-validation, C chosen by "
            f"5-fold cross-validation inside the training folds; knn: leave one out, weighted, cosine, "
            f"k={min(config.knn_k, self.reference)}, T={config.knn_temperature:g}; training saw all graphs and no label"
        )


def _folds(data: GraphSet) -> int:
    """Return the number of folds, at most the size of the smallest class; ConfigError if a class is too small."""
    sizes = torch.bincount(data.labels)
    smallest, largest = int(sizes.min()), int(sizes.max())
    folds = min(10, smallest)
    if smallest < 2 or largest - -(-largest // folds) < 5:  # C is chosen by five folds of the training graphs
        name = "data" if data.name == "given" else f"data.dataset={data.name}"
        raise ConfigError(
            f"{name} has classes of {smallest} to {largest} graphs, too few for cross-validation: it "
            "expects 2 in every class and 10 in one"
        )
    return folds
