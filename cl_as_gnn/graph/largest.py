"""The largest entries of long rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Entries whose largest is taken first: the k largest of a row lie in the k groups with the largest maxima.
GROUP = 16
_FEW_THREADS = 4  # up to so many torch selects more slowly than numpy, which has one


def largest(strip: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row and their columns, in any order; the number of columns is a multiple of
    ``GROUP``.

    A group is every w-th of ``GROUP`` · w columns: maxima of neighboring entries would take longer.
    """
    width = strip.size(1) // GROUP
    if width <= 2 * k:
        return _gathered(strip, _selected(strip, k))
    groups = strip.view(-1, GROUP, width)
    chosen = _selected(groups.amax(1), k)
    entries = groups.gather(2, chosen.unsqueeze(1).expand(-1, GROUP, -1)).flatten(1)
    found, place = _gathered(entries, _selected(entries, k))
    return found, place // k * width + chosen.gather(1, place % k)


def _gathered(x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    return x.gather(1, index), index


def _selected(x: Tensor, k: int) -> Tensor:
    """Columns of the k largest entries of each row, in any order."""
    if x.is_cpu and torch.get_num_threads() <= _FEW_THREADS:
        return torch.from_numpy(np.argpartition(x.numpy(), x.size(1) - k, axis=1)[:, -k:])
    return x.topk(k, dim=1, sorted=False).indices
