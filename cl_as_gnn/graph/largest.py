"""The largest entries of long rows."""

from __future__ import annotations

from torch import Tensor

# Entries whose largest is taken first: the k largest of a row lie in the k groups with the largest maxima.
GROUP = 32


def largest(strip: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row and their columns; the number of columns is a multiple of ``GROUP``.

    A group is every w-th of ``GROUP`` · w columns: maxima of neighboring entries would take longer.
    """
    width = strip.size(1) // GROUP
    if width <= 2 * k:
        return strip.topk(k, dim=1)
    groups = strip.view(-1, GROUP, width)
    chosen = groups.amax(1).topk(k, dim=1, sorted=False).indices
    entries = groups.gather(2, chosen.unsqueeze(1).expand(-1, GROUP, -1))
    found, place = entries.flatten(1).topk(k, dim=1)
    return found, place // k * width + chosen.gather(1, place % k)
