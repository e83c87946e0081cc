"""What a page shows of a run: some scored samples with features, labels and pictures, and a bank to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets import Split, evenly
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.knn import search
from cl_as_gnn.report.glyphs import graph_pictures, node_pictures
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.load import load_encoder, read_header
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import ImageTask, NodeTask, Task, WholeGraphTask, load_task
from cl_as_gnn.tasks.embed import embed
from cl_as_gnn.tasks.image_data import in_channels

Array = np.ndarray[Any, Any]
_ASKED, _BANK, _SCORED = 1000, 10_000, 2000


@dataclass(frozen=True)
class Samples:
    """Some samples of a data set.

    Attributes:
        x: unit features ``(n, d)``.
        labels: classes ``(n,)``, −1 where unknown.
        names: a name for each.
        pictures: from positions to uint8 pictures ``(m, C, s, s)``.
    """

    x: Tensor
    labels: Tensor
    names: tuple[str, ...]
    pictures: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Shown:
    """Samples of a run, judged by the nearest of a bank as in the kNN score.

    Attributes:
        task: data and protocol.
        asked: samples that are judged, evenly spread over the scored split; the training split without labels.
        bank: samples among which neighbors are looked for.
        own: position of each of ``asked`` in the bank, −1 where it is not there.
        classes: names of the labels; empty without labels.
        split: the split of ``asked``.
        scored: number of samples in that split.
    """

    task: Task
    asked: Samples
    bank: Samples
    own: Tensor
    classes: tuple[str, ...]
    split: str
    scored: int

    @property
    def kind(self) -> str:
        return self.task.kind

    @cached_property
    def mapped(self) -> Tensor:
        """Positions in ``asked`` of the samples of the map."""
        return evenly(_ASKED, len(self.asked))

    def nearest(self, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Similarity and position in the bank ``(m, k)`` of the nearest to some of ``asked``, itself left out."""
        k = min(k, len(self.bank) - int(bool((self.own >= 0).any())))
        similarity, index = search(self.bank.x, self.asked.x[rows], min(k + 1, len(self.bank)))
        other = index != self.own[rows].unsqueeze(1)
        order = other.int().argsort(dim=1, descending=True, stable=True)[:, :k]
        return similarity.gather(1, order), index.gather(1, order)

    @cached_property
    def votes(self) -> Tensor:
        """Share of the votes of the nearest neighbors for each class, ``(n, classes)``, as in the kNN score."""
        config = self.task.config.eval
        similarity, index = self.nearest(torch.arange(len(self.asked)), config.knn_k)
        weight = ((similarity - similarity[:, :1]) / config.knn_temperature).exp()
        votes = torch.zeros(len(self.asked), len(self.classes))
        votes.scatter_add_(1, self.bank.labels[index], weight)
        return votes / votes.sum(1, keepdim=True)


def shown(run: RunFolder) -> Shown:
    """Encode what the page of a finished run shows.

    Raises:
        ConfigError, RunError: the run has no readable encoder, or its data are missing.
    """
    config = run.load_config()
    encoder = load_encoder(run)
    root = config.data.root
    if isinstance(root, Path) and not root.exists():
        # torchvision would try to download a data set that has only moved.
        raise ConfigError(f"data.root={root} does not exist: put the data back, or change data.root in {run.config}")
    if isinstance(config.data, PhotoConfig) and config.generator is None and not (run.path / "broken.txt").exists():
        # Only what is shown is decoded. Where broken files were left out, the positions of the others would move.
        config = config.model_copy(update={"data": config.data.model_copy(update={"memory": 0.0})})
    task = load_task(config, progress=False)
    device = pick_device(config.trainer)
    encoder.to(device)
    if isinstance(task, ImageTask):
        header = read_header(run)
        task.stats = header["mean"], header["std"]
        return _of_images(task, encoder, device)
    assert isinstance(task, NodeTask | WholeGraphTask)
    x = F.normalize(task.embed(encoder, device), dim=1)
    classes = tuple(str(i) for i in range(int(task.y.max()) + 1))
    if isinstance(task, NodeTask):
        return _of_nodes(task, x, classes)
    everything = torch.arange(task.size)
    samples = _rows(task, x, task.y, everything, "graph", lambda at: graph_pictures(task.data, at))
    return Shown(task, samples, samples, everything, classes, "whole", task.size)


def _of_nodes(task: NodeTask, x: Tensor, classes: tuple[str, ...]) -> Shown:
    def some(at: Tensor) -> Samples:
        return _rows(task, x, task.y, at, "node", lambda rows: node_pictures(task.graph, rows))

    if not task.labeled:
        samples = some(evenly(_SCORED, task.size))
        return Shown(task, samples, samples, torch.arange(len(samples)), (), "whole", task.size)
    scored, train = task.scored.nonzero().view(-1), task.data.train.nonzero().view(-1)
    asked = scored[evenly(_SCORED, len(scored))]
    own = torch.full((len(asked),), -1)
    return Shown(task, some(asked), some(train), own, classes, task.config.eval.split, len(scored))


def _rows(task: Task, x: Tensor, y: Tensor, at: Tensor, name: str, pictures: Callable[[Tensor], Tensor]) -> Samples:
    return Samples(x[at], y[at], tuple(f"{name} {i}" for i in at.tolist()), lambda rows: pictures(at[rows]))


def _of_images(task: ImageTask, encoder: torch.nn.Module, device: torch.device) -> Shown:
    data, scored = task.data, task.scored

    def unit(split: Split, name: str) -> Samples:
        squares = (in_channels(batch, data.channels) for batch in split.batches(data.image_size))
        x = embed(encoder, squares, task.stats, device)
        if len(at := split.readable()) < len(split):
            x, split = x[at], split.take(at)
        names = tuple(split.files) or tuple(f"{name} image {i}" for i in range(len(split)))
        return Samples(F.normalize(x, dim=1), split.labels, names, split.thumbnails)

    def some(split: Split, count: int) -> Split:
        """Evenly spread, because a split may be sorted by class."""
        return split.take(evenly(count, len(split)))

    if scored is not None:
        labeled = scored.train.take((scored.train.labels >= 0).nonzero().view(-1))
        known = scored.test.take((scored.test.labels >= 0).nonzero().view(-1))
        asked, split = unit(some(known, _SCORED), task.config.eval.split), task.config.eval.split
        bank, nowhere = unit(some(labeled, _BANK), "training"), torch.full((len(asked),), -1)
        return Shown(task, asked, bank, nowhere, scored.classes, split, len(known))
    bank = unit(some(data.train, _BANK), "training")
    at = evenly(_ASKED, len(bank))
    names = tuple(bank.names[i] for i in at.tolist())
    own = Samples(bank.x[at], bank.labels[at], names, lambda rows: bank.pictures(at[rows]))
    return Shown(task, own, bank, at, (), "training", len(data.train))
