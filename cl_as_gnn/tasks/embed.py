"""Features of images by a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cl_as_gnn.datasets import normalize


@torch.no_grad()
def embed(
    encoder: nn.Module,
    images: Tensor,
    stats: tuple[Sequence[float], Sequence[float]],
    device: torch.device | str = "cpu",
    chunk: int = 512,
) -> Tensor:
    """Compute features ``(n, out_dim)`` of uint8 images ``(n, C, H, W)`` in eval mode, float32, on the CPU."""
    was_training = encoder.training
    encoder.eval()
    parts = []
    for batch in images.split(chunk):
        x = normalize(batch.to(device), *stats)
        if x.size(1) > 1:
            x = x.contiguous(memory_format=torch.channels_last)
        parts.append(encoder(x).float().cpu())
    encoder.train(was_training)
    return torch.cat(parts)
