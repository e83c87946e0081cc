"""What a method is given: a batch of views in training, samples without augmentation before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch_geometric.data import Data

from cl_as_gnn.nn.distributed import gather_views


@dataclass
class Batch:
    """V views of each of B samples, view-major: row v·B + s is view v of sample s.

    Args:
        inputs: what the encoder reads: pixels ``(V·B, channels, height, width)`` of images, or one tensor for the views
            of each size, in their order; or one PyG ``Data`` with every view of the nodes or whole graphs, which the
            encoder maps to V·B rows.
        sample: data-set index of each sample, ``(B,)``.
        progress: completed share of the training, between 0 and 1.
        labels: label of each sample, ``(B,)``, −1 if unknown; ``None`` if the data set has none. Few methods read them.

    On several ranks every field holds the samples of this rank; :meth:`joined` gathers ``sample`` and ``labels``.
    """

    inputs: Tensor | tuple[Tensor, ...] | Data
    sample: Tensor
    progress: float
    labels: Tensor | None = None

    def joined(self) -> Batch:
        """Return this batch with ``sample`` and ``labels`` of all ranks; ``inputs`` stay those of this rank."""
        labels = None if self.labels is None else gather_views(self.labels)
        return replace(self, sample=gather_views(self.sample), labels=labels)


@dataclass
class Preview:
    """Samples without augmentation, which a method sees once before training or after it.

    Args:
        inputs: pixels ``(n, channels, height, width)``, normalized.
        labels: ``(n,)``, −1 if unknown.
        stats: mean and deviation of each channel, from 0 to 1, that have normalized the pixels.
        seed: of the run.
    """

    inputs: Tensor
    labels: Tensor
    stats: tuple[Sequence[float], Sequence[float]]
    seed: int
