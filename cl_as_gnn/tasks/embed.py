"""Features of images by a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from cl_as_gnn.datasets import normalize


@torch.no_grad()
def embed(
    encoder: nn.Module,
    batches: Iterable[Tensor],
    stats: tuple[Sequence[float], Sequence[float]],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Compute features ``(n, out_dim)`` in eval mode, float32, on the CPU.

    Args:
        encoder: on ``device``.
        batches: uint8 images ``(b, C, H, W)``, n in all.
        stats: mean and standard deviation of each channel, which normalize the images.
        device: where the encoder runs.
    """
    was_training = encoder.training
    encoder.eval()
    parts = []
    for batch in batches:
        x = normalize(batch.to(device), *stats)
        if x.size(1) > 1:
            x = x.contiguous(memory_format=torch.channels_last)
        parts.append(encoder(x).float().cpu())
    encoder.train(was_training)
    return torch.cat(parts)
