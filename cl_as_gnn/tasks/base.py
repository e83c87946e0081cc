"""What differs between runs on images, on the nodes of a graph and on whole graphs: all that surrounds the step."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cl_as_gnn.config import GraphDataConfig, RunConfig
from cl_as_gnn.datasets import NodeData, load_graphs
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS, Method
from cl_as_gnn.tasks.graphs import NodeTask, WholeGraphTask
from cl_as_gnn.tasks.images import ImageTask, scored_data

Scores = dict[str, Any]


class Task(Protocol):
    """The samples of a run, the encoder that reads them, and the protocol of its numbers."""

    kind: str
    """``images``, ``nodes`` or ``graphs``: what a sample is."""
    unit: str
    """What a progress bar counts."""
    name: str
    """Of the data set."""
    size: int
    """Training samples."""
    inputs: Tensor | None
    """One row a training sample for the augmentation to read; ``None`` where it holds the graphs itself."""
    labels: Tensor | None
    """Class of each training sample, −1 where training may not see it; ``None`` where it may see none."""

    def views(self) -> nn.Module:
        """The augmentation: rows of ``inputs`` (or indices of samples) and a number of views to what encoders read."""
        ...

    def encoder(self) -> nn.Module:
        """A fresh encoder, with ``out_dim``."""
        ...

    def header(self) -> dict[str, Any]:
        """What is needed to build the encoder again."""
        ...

    def online(self, encoder: nn.Module, device: torch.device) -> float | None:
        """A quick kNN estimate in per cent without test labels, or ``None`` where too few labels are known."""
        ...

    def features(self, encoder: nn.Module, device: torch.device) -> dict[str, Tensor]:
        """Features of every split and ``<split>_labels``, by the frozen encoder without augmentation, on the CPU."""
        ...

    def score(self, features: dict[str, Tensor]) -> Scores:
        """The numbers of the protocol, in per cent; ``None`` where one makes no sense."""
        ...

    def geometry(
        self, method: Method[Any], views: nn.Module, features: dict[str, Tensor], device: torch.device
    ) -> Scores:
        """Alignment and uniformity of fresh views, effective rank and edge purity of features."""
        ...

    def baselines(self, device: torch.device) -> dict[str, Scores]:
        """The same numbers without training."""
        ...

    def protocol(self) -> str:
        """One sentence that says what the numbers mean."""
        ...


def load_task(config: RunConfig, progress: bool = True) -> Task:
    """Read the data of a run, and check that its method can learn from them."""
    task: Task
    if isinstance(config.data, GraphDataConfig):
        graphs = load_graphs(config.data)
        task = NodeTask(config, graphs) if isinstance(graphs, NodeData) else WholeGraphTask(config, graphs)
    else:
        task = ImageTask(config, scored_data(config, progress))
    reads = METHODS[config.method.name].reads
    if task.kind not in reads:
        fit = {"images": "digits, cifar10", "nodes": "karate, cora, citeseer", "graphs": "tu"}
        names = ", ".join(fit[kind] for kind in reads)
        raise ConfigError(
            f"method.name={config.method.name} learns from {' or '.join(reads)}, and data.name={config.data.name} has "
            f"{task.kind}: use data.name={names}, or another method"
        )
    return task
