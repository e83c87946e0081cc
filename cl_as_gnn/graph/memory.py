"""Features of earlier steps as nodes; all state is in buffers, so that checkpoints hold it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cl_as_gnn.graph.knn import search
from cl_as_gnn.nn.checks import check_count, check_features, check_integers, check_width, check_within
from cl_as_gnn.nn.unit import unit_rows


def _check_rows(name: str, x: Tensor, dim: int) -> None:
    check_features(name, x, real=True)
    check_width(name, x, dim, cure="that is dim")


class FeatureQueue(nn.Module):
    """First-in, first-out queue of the latest ``size`` unit features, as in MoCo and NNCLR.

    Args:
        size: rows kept.
        dim: d.
    """

    def __init__(self, size: int, dim: int):
        super().__init__()
        check_count("FeatureQueue", size=size, dim=dim)
        self.features = nn.Buffer(torch.zeros(size, dim))
        self.sample = nn.Buffer(torch.full((size,), -1))
        self.written = nn.Buffer(torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, x: Tensor, sample: Tensor) -> None:
        """Write the rows of ``x`` ``(m, d)``, normalized, over the oldest; ``sample`` ``(m,)`` are their indices."""
        size, dim = self.features.shape
        _check_rows("FeatureQueue", x, dim)
        check_integers("FeatureQueue", sample, len(x), "sample", "one of each row")
        x, sample = x[-size:], sample[-size:]
        slot = (self.written + torch.arange(x.size(0), device=x.device)) % size
        self.features[slot] = unit_rows(x.to(self.features.dtype))
        self.sample[slot] = sample
        self.written.add_(x.size(0))

    @torch.no_grad()
    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Find the k rows most similar to each unit row of ``x`` ``(n, d)``: features ``(n, k, d)``, similarities
        ``(n, k)``, and data-set indices ``(n, k)``, −1 for slots never written, whose similarity counts as 0."""
        _check_rows("FeatureQueue", x, self.features.size(1))
        similarity, index = search(self.features, x, k, caller="FeatureQueue")
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
        check_count("SampleBank", num_samples=num_samples, dim=dim, stages=stages)
        self.unit = unit
        self.features = nn.Buffer(torch.zeros(stages, num_samples, dim))
        self.seen = nn.Buffer(torch.zeros(stages, num_samples, dtype=torch.bool))

    @torch.no_grad()
    def read(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(stages, m, d)`` of the samples, latest first, and which are written ``(stages, m)``."""
        self._check_samples(sample)
        return self.features[:, sample], self.seen[:, sample]

    @torch.no_grad()
    def write(self, sample: Tensor, x: Tensor) -> None:
        """Push ``x`` ``(m, d)``, as the latest stage of the samples ``(m,)``, which hold no duplicates."""
        self._check_samples(sample, len(x) if isinstance(x, Tensor) else None)
        _check_rows("SampleBank", x, self.features.size(2))
        for stage in range(self.features.size(0) - 1, 0, -1):
            self.features[stage, sample] = self.features[stage - 1, sample]
            self.seen[stage, sample] = self.seen[stage - 1, sample]
        x = x.to(self.features.dtype)
        self.features[0, sample] = unit_rows(x) if self.unit else x
        self.seen[0, sample] = True

    def _check_samples(self, sample: Tensor, count: int | None = None) -> None:
        check_integers("SampleBank", sample, count, "sample", "one of each row")
        check_within("SampleBank", "sample", sample, self.seen.size(1), "samples")
