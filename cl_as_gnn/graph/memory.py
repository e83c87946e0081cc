"""Features of earlier steps as nodes; all state is in buffers, so that checkpoints hold it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cl_as_gnn.graph.knn import search
from cl_as_gnn.nn.unit import unit_rows


class FeatureQueue(nn.Module):
    """First-in, first-out queue of the latest ``size`` unit features, as in MoCo and NNCLR.

    Args:
        size: rows kept.
        dim: d.
    """

    def __init__(self, size: int, dim: int):
        super().__init__()
        if size < 1:
            raise ValueError(f"FeatureQueue expects size >= 1, got {size}")
        self.features = nn.Buffer(torch.zeros(size, dim))
        self.sample = nn.Buffer(torch.full((size,), -1))
        self.written = nn.Buffer(torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, x: Tensor, sample: Tensor) -> None:
        """Write the rows of ``x`` ``(m, d)``, normalized, over the oldest; ``sample`` ``(m,)`` are their indices."""
        size = self.features.size(0)
        x, sample = x[-size:], sample[-size:]
        slot = (self.written + torch.arange(x.size(0), device=x.device)) % size
        self.features[slot] = unit_rows(x.to(self.features.dtype))
        self.sample[slot] = sample
        self.written.add_(x.size(0))

    @torch.no_grad()
    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Find the k rows most similar to each unit row of ``x`` ``(n, d)``: features ``(n, k, d)``, similarities
        ``(n, k)``, and data-set indices ``(n, k)``, −1 for slots never written."""
        similarity, index = search(self.features, x, k)
        return self.features[index], similarity, self.sample[index]


class SampleBank(nn.Module):
    """One row per sample and stage: the features of each sample when it was last seen, and before.

    Args:
        num_samples: N.
        dim: d.
        stages: past stages kept.
        unit: normalize what is written.
    """

    def __init__(self, num_samples: int, dim: int, stages: int = 1, unit: bool = True):
        super().__init__()
        if stages < 1:
            raise ValueError(f"SampleBank expects stages >= 1, got {stages}")
        self.unit = unit
        self.features = nn.Buffer(torch.zeros(stages, num_samples, dim))
        self.seen = nn.Buffer(torch.zeros(stages, num_samples, dtype=torch.bool))

    @torch.no_grad()
    def read(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(stages, m, d)`` of the samples, latest first, and which are written ``(stages, m)``."""
        return self.features[:, sample], self.seen[:, sample]

    @torch.no_grad()
    def write(self, sample: Tensor, x: Tensor) -> None:
        """Push ``x`` ``(m, d)``, as the latest stage of the samples ``(m,)``, which hold no duplicates."""
        for stage in range(self.features.size(0) - 1, 0, -1):
            self.features[stage, sample] = self.features[stage - 1, sample]
            self.seen[stage, sample] = self.seen[stage - 1, sample]
        x = x.to(self.features.dtype)
        self.features[0, sample] = unit_rows(x) if self.unit else x
        self.seen[0, sample] = True
