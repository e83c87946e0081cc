from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from cl_as_gnn.nn.operators.adjacency import DENSE_NODES, Adjacency


class Diffusion:
    r"""Several hops over one graph, without the walks that return to their start.

    .. math::
        T = N \left( W^L - \mathrm{diag}(W^L) \right), \qquad
        T_{ij} = \frac{(W^L)_{ij}}{\sum_{k \neq i} (W^L)_{ik}} \;\; (i \neq j),

    with :math:`N` renormalizing the rows. Computed hop by hop, :math:`O(L E d)`;
    the diagonal comes from two sparse powers, :math:`(W^L)_{ii} = \sum_j (W^a)_{ij} (W^b)_{ji}` with
    :math:`a + b = L`. A row whose walks all return, or end in nodes without
    edges, keeps no weight.

    Args:
        graph: :math:`W`, square, not negative, with row sums of at most 1.
        num_hops: :math:`L \ge 1`.
    """

    def __init__(self, graph: Adjacency, num_hops: int = 1):
        if num_hops < 1:
            raise ValueError(f"Diffusion expects num_hops >= 1, got {num_hops}")
        self.graph = graph
        self.num_hops = num_hops
        weight = graph.edge_weight
        dtype = torch.get_default_dtype() if weight is None else weight.dtype
        if num_hops == 1:
            source, target = graph.edge_index
            loops = source == target
            value = graph._weight(torch.empty(0, dtype=dtype, device=source.device)) * loops
            self._return: Tensor = scatter(value, target, dim_size=graph.size[1], reduce="sum")
        else:
            dense = graph.edge_index.is_cuda and graph.size[1] <= DENSE_NODES
            times = graph.matmul if dense else None
            self._return = _diagonal_of_power(
                graph.to_dense(dtype) if dense else graph.to_sparse(dtype), num_hops, times
            )
        arrives = self._return.new_ones(graph.size[1], 1)
        for _ in range(num_hops):
            arrives = graph.matmul(arrives)
        left = arrives.squeeze(1) - self._return
        self._scale = torch.where(left > 1e-6, 1 / left, 0)

    def matmul(self, x: Tensor) -> Tensor:
        out = x
        for _ in range(self.num_hops):
            out = self.graph.matmul(out)
        return self._scale.unsqueeze(1) * (out - self._return.unsqueeze(1) * x)

    def t_matmul(self, x: Tensor) -> Tensor:
        scaled = self._scale.unsqueeze(1) * x
        out = scaled
        for _ in range(self.num_hops):
            out = self.graph.t_matmul(out)
        return out - self._return.unsqueeze(1) * scaled

    @property
    def row_sum(self) -> Tensor:
        return (self._scale > 0).to(self._scale.dtype)


def _diagonal_of_power(matrix: Tensor, power: int, times: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """diag(W^power) of a sparse or dense matrix from W^a and W^b alone, a + b = power.

    ``times`` is the product with the sparse W, for dense powers: E n flops, where a dense one has n³.
    """
    powers = [matrix]
    with torch.autocast(matrix.device.type, enabled=False):
        while len(powers) < (power + 1) // 2:
            powers.append(powers[-1] @ matrix if times is None else times(powers[-1]))
    if not matrix.is_sparse:
        return (powers[-1] * powers[power // 2 - 1].t()).sum(1)
    product = (powers[-1].coalesce() * powers[power // 2 - 1].t().coalesce()).coalesce()
    diagonal: Tensor = scatter(product.values(), product.indices()[0], dim_size=matrix.size(0), reduce="sum")
    return diagonal
