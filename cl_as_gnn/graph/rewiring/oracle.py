"""Edges of known purity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import degree

_BITS = 0xFFFFFFFF


def _draw(a: Tensor, b: Tensor) -> Tensor:
    """A number in [0, 1) that looks random, the same whenever it is asked for the same two integers."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA77 + 1) & _BITS
    for factor in (0x7FEB352D, 0x46BA3C6D):
        x = ((x ^ (x >> 15)) * factor) & _BITS
        x = x ^ (x >> 13)
    return x.double() / 2**32


@torch.no_grad()
def oracle_edges(label: Tensor, sample: Tensor, k: int, purity: float) -> tuple[Tensor, Tensor]:
    """At most k edges into each sample, of which a known share joins samples of one label.

    A sample collects from ⌊k·purity⌋ or ⌈k·purity⌉ others of its label, the share being right on average, and for the
    rest from samples of other labels. Which ones is drawn once for every pair of samples: as in a real neighbour graph,
    a wrong edge comes back each time the two meet, and does not average out.

    Args:
        label: ``(B,)``; samples with a negative label have no edges.
        sample: index in the training set ``(B,)``, what the draws depend on.
        k: edges a sample; fewer where the batch has too few samples of a kind.
        purity: from 0 to 1.

    Returns:
        ``edge_index`` ``(2, E)`` over positions in the batch, row 0 the sources; ``edge_weight`` ``(E,)``, equal for
        the edges of a target and summing to one.
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
        # The place of each pair among the allowed ones of its row.
        rank = order.masked_fill(~allowed, 2).argsort(1).argsort(1)
        chosen |= allowed & (rank < count.unsqueeze(1))
    target, source = chosen.nonzero(as_tuple=True)
    weight = 1 / degree(target, size, torch.get_default_dtype())[target]
    return torch.stack([source, target]), weight
