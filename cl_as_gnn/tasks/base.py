"""What a task provides around the training step: samples, views, the encoder, and the protocol of the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from cl_as_gnn.config import EvalConfig, GraphDataConfig, RunConfig
from cl_as_gnn.datasets import evenly
from cl_as_gnn.datasets.kept import kept_scores
from cl_as_gnn.encoders import Encoder, Inputs, build_encoder
from cl_as_gnn.evaluation import (
    alignment,
    edge_purity,
    effective_rank,
    few_label_probe,
    knn_accuracy,
    leave_one_out_knn,
    propagated_accuracy,
    shared_information,
    uniformity,
    view_agreement,
)
from cl_as_gnn.evaluation.scores import measured
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.methods import METHODS, Method, build_method

_PURITY_K = 10
# The spectrum of more rows costs time and says the same.
_WATCHED_ROWS = 512
# More neighbors that pass on a label change its accuracy little.
_SPREAD_ROWS = 10_000
FEW = (1, 10)
"""Numbers of labels per class of the scores with few labels."""
Features = dict[str, Tensor]
Scores = dict[str, Any]


class Task(ABC):
    """Base class of tasks.

    Attributes:
        kind: ``images``, ``nodes`` or ``graphs``.
        unit: the unit of a progress bar.
        name: name of the data set.
        size: number of training samples.
        reference: number of samples among which the kNN score looks for the neighbors of one.
        y: classes of the training samples, for the measurements.
        watched: training samples of the online kNN estimate; ``None`` if too few labels are known.
        inputs: one row per training sample, for the augmentation; ``None`` if the augmentation holds the graphs.
        labels: classes of the training samples, for methods that read labels; −1 hides a label, ``None`` all.
        aspect: width / height of the pictures in ``inputs``; ``None`` if these are not resized.
        read: reads samples that are not in memory by their indices, with their width / height; else ``None``.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    name: str
    size: int
    reference: int
    y: Tensor
    watched: Tensor | None = None
    inputs: Tensor | None = None
    labels: Tensor | None = None
    aspect: Tensor | None = None
    read: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None = None

    def __init__(self, config: RunConfig):
        self.config = config

    def settle(self) -> RunConfig:
        """Choose by the data what the config of a new run leaves open; returns the config, which is the task's now."""
        return self.config

    @abstractmethod
    def views(self) -> nn.Module:
        """The augmentation: maps rows of ``inputs`` (or indices of samples) and a number of views to encoder inputs."""

    def order(self, generator: torch.Generator) -> Tensor:
        """A shuffle of the training samples, the same for the same state of the generator."""
        return torch.randperm(self.size, generator=generator)

    @abstractmethod
    def encoder(self) -> Encoder:
        """A new encoder with random weights."""

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """The values from which the encoder can be built again."""

    @abstractmethod
    def watch(self, encoder: nn.Module, device: torch.device, index: Tensor) -> Tensor:
        """Features of the training samples ``index``, by the frozen encoder without augmentation, on the CPU."""

    @abstractmethod
    def features(self, encoder: nn.Module, device: torch.device, scored: bool = False) -> Features:
        """Features of every split and ``<split>_labels``, by the frozen encoder without augmentation, on the CPU.

        ``scored``: those that the scores look at suffice.
        """

    def names(self) -> dict[str, Any]:
        """Names to go with the features: ``<split>_files``, and ``classes``, which the labels index."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """Lines that say what was read."""
        return ()

    def prepare(self, method: Method[Any]) -> list[str]:
        """Let the method fit what it fits before training; returns lines that say so."""
        return []

    def method_scores(self, method: Method[Any]) -> Scores:
        """Scores of the method's own, after training."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Further entries of ``metrics.json``."""
        return {}

    def broken(self) -> list[str]:
        """The files that were left out so far, with the reason."""
        return []

    @abstractmethod
    def geometry(self, method: Method[Any], views: nn.Module, features: Features, device: torch.device) -> Scores:
        """Alignment and uniformity of new views, effective rank and edge purity of features."""

    def information(self, method: Method[Any], views: nn.Module, device: torch.device) -> Scores:
        """I_NCE of new views; nothing of a single sample."""
        z = self._projections(method, views, device)
        if z.size(1) < 2:
            return {}
        return dict(zip(("i_nce", "i_nce_ceiling"), shared_information(*z), strict=True))

    @abstractmethod
    def _projections(self, method: Method[Any], views: nn.Module, device: torch.device) -> Tensor:
        """Projections ``(2, m, d)`` of two new views of some samples, on the CPU, the same views every time."""

    @abstractmethod
    def protocol(self) -> str:
        """One sentence that says how the scores are computed."""

    def capped(self) -> list[str]:
        """A line for each number of neighbors that the data do not have, with the number that is used instead."""
        method, batch = self.config.method, min(self.config.trainer.batch_size, self.size)
        asked = [("eval.knn_k", self.config.eval.knn_k, self.reference, "to look among")]
        if where := METHODS[method.name].neighbors_from:
            others = batch - 1 if where == "batch" else self.size - 1
            asked.append(("method.k", method.model_dump()["k"], others, f"in the {where} beside each"))
        return [
            f"{key}={k} is capped at {most}: there are {most:,} {self.kind} {place}"
            for key, k, most, place in asked
            if k > most
        ]

    @abstractmethod
    def _score(self, features: Features) -> Scores:
        """The accuracies of this kind of task."""

    @abstractmethod
    def _floors(self) -> dict[str, Scores]:
        """Scores of inputs without an encoder."""

    def online(self, encoder: nn.Module, device: torch.device) -> tuple[float | None, Tensor]:
        """Watch training samples: a quick kNN estimate in percent, and unit features of at most 512 of them.

        The estimate uses no test labels and is ``None`` where too few labels are known.
        """
        index = evenly(_WATCHED_ROWS, self.size) if self.watched is None else self.watched
        x = self.watch(encoder, device, index)
        knn = None if self.watched is None else self._leave_one_out(x, self.y[index])
        return knn, F.normalize(x[evenly(_WATCHED_ROWS, len(x))], dim=1)

    def score(self, features: Features) -> Scores:
        """The scores of the protocol, in percent, and those of other packages; ``None`` where undefined."""
        return {**self._score(features), **measured(features)}

    def baselines(self, device: torch.device) -> dict[str, Scores]:
        """The same scores without training; those of many labeled images are computed once and kept (``kept``)."""
        what = self.fingerprint()
        if what is None:
            return self._baselines(device)
        return kept_scores({**what, "device": str(device)}, lambda: self._baselines(device))

    def fingerprint(self) -> dict[str, Any] | None:
        """All that the baselines depend on, as JSON; ``None`` if they are to be computed anew."""
        return None

    def _baselines(self, device: torch.device) -> dict[str, Scores]:
        torch.manual_seed(self.config.seed)
        if self.labeled:
            untrained = self.features(self.encoder().to(device), device, scored=True)
            return {"untrained encoder": self.score(untrained), **self._floors()}
        method = build_method(self.config.method, self.encoder(), self.config.encoder, self.size).eval().to(device)
        views, untrained = self.views().to(device), self.features(method.encoder, device, scored=True)
        scores = self.score(untrained) | self.geometry(method, views, untrained, device)
        return {"untrained encoder": scores, **self._floors()}

    @property
    @abstractmethod
    def labeled(self) -> bool:
        """Whether labels score the features; without any, the geometry of two views does."""

    def _leave_one_out(self, x: Tensor, y: Tensor) -> float:
        return leave_one_out_knn(x, y, min(self.config.eval.knn_k, len(x) - 1), self.config.eval.knn_temperature)


def knn_and_few_labels(bank: Tensor, y: Tensor, query: Tensor, truth: Tensor, config: EvalConfig) -> Scores:
    """kNN and few-label accuracy of ``query`` (m × d) with ``bank`` (n × d) as reference, in percent.

    ``label10_top1`` is ``None`` if a class has fewer than ten rows in the bank, and likewise ``label1_top1``.
    """
    smallest = int(torch.bincount(y).min())
    few = {
        f"label{n}_top1": few_label_probe(bank, y, query, truth, n, config.draws)[0] if smallest >= n else None
        for n in FEW
    }
    k = min(config.knn_k, len(bank))
    return {"knn_top1": knn_accuracy(bank, y, query, truth, k, config.knn_temperature), **few}


def spread_labels(bank: Tensor, y: Tensor, query: Tensor, truth: Tensor, config: EvalConfig) -> Scores:
    """The same few labels along the kNN graph of at most 10,000 rows of the bank; ``None`` as there."""
    kept = evenly(_SPREAD_ROWS, len(bank))
    bank, y = bank[kept], y[kept]
    smallest = int(torch.bincount(y).min())
    counts = [n for n in FEW if smallest >= n]
    found = propagated_accuracy(bank, y, query, truth, counts, config.draws) if counts else []
    means = {n: mean for n, (mean, _) in zip(counts, found, strict=True)}
    return {f"propagated{n}_top1": means.get(n) for n in FEW}


def rank_of(x: Tensor) -> float:
    """The effective rank of features, 1 if all are zero."""
    return effective_rank(x) if bool(x.any()) else 1.0


def geometry_scores(z: Tensor, x: Tensor, y: Tensor | None) -> Scores:
    """Measure projections ``z`` (2 × m × d) of two views and features ``x`` (n × d) with classes ``y``, if known."""
    first, second = F.normalize(z, dim=2)
    out = {"alignment": alignment(first, second), "uniformity": uniformity(first), "effective_rank": rank_of(x)}
    if y is not None and len(x) > _PURITY_K:
        out["edge_purity"] = edge_purity(knn_edges(x, _PURITY_K)[0], y)
    return out


class GraphTask(Task):
    """Base class of tasks whose encoder reads a PyG graph.

    Attributes:
        graph: the whole graph, or a batch of all graphs.
        pool: how node features become those of a graph; ``None`` if the nodes are the samples.
    """

    graph: Data
    pool: str | None = None
    _geometry_samples = 4096

    def __init__(self, config: RunConfig):
        super().__init__(config)
        assert isinstance(config.data, GraphDataConfig)
        self.data_config = config.data

    def encoder(self) -> Encoder:
        return build_encoder(self.config.encoder, Inputs(self.graph.x.size(1), pool=self.pool))

    def header(self) -> dict[str, Any]:
        encoder = self.config.encoder.model_dump(mode="json")
        return {"encoder": encoder, "channels": self.graph.x.size(1), "pool": self.pool}

    @torch.no_grad()
    def embed(self, encoder: nn.Module, device: torch.device | str) -> Tensor:
        """Features of every sample in eval mode, without augmentation, float32, on the CPU."""
        was_training = encoder.training
        encoder.eval()
        out: Tensor = encoder(self.graph.clone().to(device)).float().cpu()
        encoder.train(was_training)
        return out

    def watch(self, encoder: nn.Module, device: torch.device, index: Tensor) -> Tensor:
        return self.embed(encoder, device)[index]

    def geometry(self, method: Method[Any], views: nn.Module, features: Features, device: torch.device) -> Scores:
        z, sample = self._projections(method, views, device), evenly(self._geometry_samples, self.size)
        x = features[self.kind][sample]
        if self.labeled:
            return geometry_scores(z, x, self.y[sample])
        both = self._two(method.encoder, views, device)
        return geometry_scores(z, x, None) | {"view_agreement": view_agreement(*both)}

    @property
    def labeled(self) -> bool:
        return bool((self.y >= 0).any())

    def _label_free(self) -> str:
        """The protocol without labels."""
        return (
            f"no labels; frozen encoder in eval mode, on {min(self.size, self._geometry_samples):,} of {self.size:,} "
            f"{self.kind}; view agreement: nearest by cosine, features before the projector; effective rank: those "
            "features without augmentation; alignment and uniformity: unit projections of two views"
        )

    @torch.no_grad()
    def _projections(self, method: Method[Any], views: nn.Module, device: torch.device) -> Tensor:
        return self._two(method.project, views, device)

    @torch.no_grad()
    def _two(self, encode: Callable[[Any], Tensor], views: nn.Module, device: torch.device) -> Tensor:
        """Two views of some samples, encoded: ``(2, m, d)`` on the CPU, the same views every time."""
        torch.manual_seed(self.config.seed)
        sample = evenly(self._geometry_samples, self.size).to(device)
        both: Tensor = encode(views(sample, 2)).float().cpu().unflatten(0, (2, -1))
        return both
