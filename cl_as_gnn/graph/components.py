"""Connected components of a nearest-neighbor graph."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.graph.knn import nearest


@torch.no_grad()
def nearest_components(x: Tensor) -> Tensor:
    """Connected component of each node in the 1-NN graph of features ``(n, d)``: ``(n,)`` labels, each a node's index.

    Every node points to one other, so each component holds one cycle, and walks of n steps by pointer doubling end in
    it: O(n log n) on the device, no sparse matrix.
    """
    n = x.size(0)
    least = torch.arange(n, device=x.device)
    if n < 2:
        return least
    ahead = nearest(x, 1)[1].squeeze(1)
    for _ in range(n.bit_length()):
        least, ahead = torch.minimum(least, least[ahead]), ahead[ahead]
    # `least` is the smallest index on a node's walk: for a node of the cycle, that of the cycle.
    return least[ahead]
