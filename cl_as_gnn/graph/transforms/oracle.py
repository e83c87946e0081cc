"""Edges of known purity."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 0xFFFFFFFF


def _draw(a: Tensor, b: Tensor) -> Tensor:
    """A pseudo-random number in [0, 1), a function of two integers."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA77 + 1) & _BITS
    for factor in (0x7FEB352D, 0x46BA3C6D):
        x = ((x ^ (x >> 15)) * factor) & _BITS
        x = x ^ (x >> 13)
    return x.double() / 2**32


@torch.no_grad()
def oracle_edges(label: Tensor, sample: Tensor, k: int, purity: float) -> tuple[Tensor, Tensor]:
    """Draw k edges into each sample, of which a known share joins samples of one label.

    A sample receives from ⌊k·purity⌋ or ⌈k·purity⌉ others of its label, so that the share is right on average, and for
    the rest from samples of other labels. The draw depends on the pair of samples only: as in a real neighbour graph, a
    wrong edge returns whenever the two samples meet, and does not average out.

    Args:
        label: ``(B,)``; samples with a negative label have no edges.
        sample: index in the training set ``(B,)``, which determines the draws.
        k: edges per sample, at most the batch; their weight is 0 where the batch has too few samples of a kind, so
            that the number of edges does not depend on values.
        purity: from 0 to 1.

    Returns:
        ``edge_index`` ``(2, B·k)`` over positions in the batch, row 0 the sources, grouped by target; ``edge_weight``
        ``(B·k,)``, equal or 0 within a target, summing to one (to zero for a target without valid edges).
    """
    size = label.numel()
    same = label.unsqueeze(1) == label
    labelled = (label >= 0).unsqueeze(1) & (label >= 0)
    others = ~torch.eye(size, dtype=torch.bool, device=label.device)
    order = _draw(sample.unsqueeze(1), sample)
    right = (k * purity + _draw(sample, torch.full_like(sample, -1))).floor().long().clamp(max=k)
    chosen = torch.zeros_like(same)
    for kind, count in ((same, right), (~same, k - right)):
        allowed = kind & labelled & others
        # The rank of each pair among the allowed pairs of its row.
        rank = order.masked_fill(~allowed, 2).argsort(1).argsort(1)
        chosen |= allowed & (rank < count.unsqueeze(1))
    source = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :k]
    weight = chosen.gather(1, source) / chosen.sum(1, keepdim=True).clamp(min=1)
    target = torch.arange(size, device=label.device).repeat_interleave(source.size(1))
    return torch.stack([source.flatten(), target]), weight.flatten()
