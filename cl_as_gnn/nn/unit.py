"""Rows of unit length, whatever length they had."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.nn.checks import host_checks

# Rows whose largest entry is in this range have squares that neither vanish nor overflow in float32.
_LEAST, _MOST = 1e-12, 1e16


def peak(x: Tensor) -> Tensor:
    """Largest absolute value of each row, ``(..., 1)``; no gradient."""
    return x.detach().abs().amax(-1, keepdim=True)


def moderate(x: Tensor) -> Tensor:
    """Divide the rows that are too short or too long to be squared by their largest entry; others stay to the digit.

    Subnormal rows become zeros, as which they count: they have no direction, and no gradient flows to them.
    """
    if x.size(-1) == 0:
        return x
    top = peak(x)
    scale = torch.where(top < torch.finfo(x.dtype).tiny, torch.inf, top)
    return x / torch.where((top >= _LEAST) & (top <= _MOST), 1, scale)


def not_too_long(x: Tensor) -> Tensor:
    """Shorten the rows that are too long to be squared, in their direction; others stay to the digit."""
    if _known_to_fit(x):
        return x
    return x / (peak(x) / _MOST).clamp(min=1)


def unit_rows(x: Tensor) -> Tensor:
    r"""Scale rows ``(..., d)`` to unit length, :math:`x_i / \lVert x_i \rVert`; zero rows stay, without gradient.

    Right for every finite row that is not zero (or subnormal): where the squares of a row would vanish or overflow, it
    is divided by its largest entry first. float64 stays, other types become float32.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        if x.numel() and host_checks(x):
            length = x.norm(dim=-1, keepdim=True)
            low, high = length.detach().aminmax()
            if low >= _LEAST and high <= _MOST:
                out: Tensor = x / length
                return out
        return F.normalize(moderate(x), dim=-1)


def for_products(*parts: Tensor) -> tuple[Tensor, ...]:
    """float64 copies of features whose inner products would overflow, on a CPU only: the host would have to wait for a
    GPU, where such products give NaN."""
    fit = all(not host_checks(x) or _known_to_fit(x) for x in parts)
    return parts if fit else tuple(x.double() for x in parts)


def _known_to_fit(x: Tensor) -> bool:
    """Whether all entries can be squared, as far as the host knows."""
    if x.numel() == 0 or not host_checks(x):
        return x.numel() == 0
    return bool(torch.linalg.vector_norm(x.detach()) <= _MOST)  # a third of the time of the largest entry
