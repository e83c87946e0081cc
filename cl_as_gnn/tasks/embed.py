"""Features of images by a frozen encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cl_as_gnn.datasets import normalize
from cl_as_gnn.datasets.packed import reserve
from cl_as_gnn.errors import RunError

_MOVED = 4096  # rows at a time


@torch.no_grad()
def embed(
    encoder: nn.Module,
    batches: Iterable[Tensor],
    stats: tuple[Sequence[float], Sequence[float]],
    device: torch.device | str = "cpu",
    place: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Compute features ``(n, out_dim)`` in eval mode, float32, on the CPU.

    Args:
        encoder: on ``device``.
        batches: uint8 images ``(b, C, H, W)``, n in all.
        stats: mean and standard deviation of each channel, which normalize the images.
        device: where the encoder runs.
        place: makes the tensor of the features from their dimension; ``None``: grown in memory.
    """
    was_training = encoder.training
    encoder.eval()
    parts: list[Tensor] = []
    out, filled = None, 0
    for batch in batches:
        x = normalize(batch.to(device), *stats)
        if x.size(1) > 1:
            x = x.contiguous(memory_format=torch.channels_last)
        y = encoder(x).float().cpu()
        if place is None:
            parts.append(y)
            continue
        out = place(y.size(1)) if out is None else out
        out[filled : filled + len(y)] = y
        filled += len(y)
    encoder.train(was_training)
    return torch.cat(parts) if out is None else out


def rows(count: int, dim: int, memory: float, folder: Path | None) -> Tensor:
    """An empty tensor ``(count, dim)`` in memory, or above ``memory`` GB in a file that goes with it.

    Raises:
        RunError: the disk of the ``folder`` (None: that of temporary files) has no room for it.
    """
    size = 4 * count * dim
    if size <= memory * 1e9:
        return torch.empty(count, dim)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), size)
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=(count, dim)))
    except OSError as error:
        raise RunError(
            f"{size / 1e9:.1f} GB of features do not fit in {folder or tempfile.gettempdir()} ({error.strerror}): make "
            "room, or raise data.memory"
        ) from None


def kept_rows(x: Tensor, at: Tensor) -> Tensor:
    """The rows of ``x`` at ascending positions, moved to its front in place; ``x`` itself if these are all."""
    if len(at) < len(x):
        for to, part in zip(torch.arange(len(at)).split(_MOVED), at.split(_MOVED), strict=True):
            x[to] = x[part]
    return x[: len(at)]
