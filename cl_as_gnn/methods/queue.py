"""What the methods with a queue of features share."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import torch
from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph import FeatureQueue
from cl_as_gnn.methods.base import Batch, Method


class QueueConfig(MethodConfig):
    """Settings of every method with a queue."""

    queue_size: int = Field(1024, ge=1, description="features of the latest samples kept in the queue")


QueueConfigT = TypeVar("QueueConfigT", bound=QueueConfig)


class QueueMethod(Method[QueueConfigT]):
    """Base class, beside another, of methods that keep the features of the first view of the latest samples."""

    random_start: ClassVar[bool] = False
    """Whether the queue starts with random features instead of empty."""
    queued: ClassVar[tuple[str, str]] = ("target", "x")
    """Node type and attribute of the features that enter the queue."""

    def build_modules(self) -> None:
        super().build_modules()
        size, dim = self.queue_rows(), self.heads.projector_dim
        self.queue = FeatureQueue(size, dim)
        if self.random_start:
            self.queue.push(torch.randn(size, dim), torch.full((size,), -1))

    def queue_rows(self) -> int:
        """Return the size of the queue: at most one row per sample of the training set."""
        return min(self.config.queue_size, self.num_samples)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        """Add the rows of the queue as nodes; a method that looks up neighbours adds only those."""
        data["queue"].x, data["queue"].sample = self.queue.features, self.queue.sample
        return data

    def update_memory(self, data: HeteroData) -> None:
        size, (kind, attribute) = data["view"].x.size(0) // self.config.num_views, self.queued
        self.queue.push(data[kind][attribute][:size], data["view"].sample[:size])
