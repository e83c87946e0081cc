from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.typing import Adj, Size

from cl_as_gnn.nn.checks import check_choice, check_number, host_checks
from cl_as_gnn.nn.conv.base import EdgeLayer
from cl_as_gnn.nn.conv.static import static_graphs
from cl_as_gnn.nn.edges import Features, Nodes, as_edges, widen, with_targets
from cl_as_gnn.nn.unit import unit_rows


class HardestPositiveConv(EdgeLayer):
    r"""Attraction of each node to its least similar positive, the max aggregation of `"ArCL: Enhancing Contrastive
    Learning with Augmentation-Robust Representations" <https://arxiv.org/abs/2303.01092>`_.

    .. math::
        X' = X + \alpha (S X - X), \qquad
        x_i' = x_i + \alpha (x_{b^*(i)} - x_i), \qquad
        b^*(i) = \arg\min_{j \to i} \cos(x_i, x_j),

    with one 1 in each row of the selection :math:`S`. Messages flow from ``edge_index[0]`` to ``edge_index[1]``, along
    one edge per target; of equally hard positives the lowest index is chosen. With
    ``similarity="distance"`` the hardest positive is the farthest one, and the update is a subgradient step on
    :math:`\tfrac12 \max_{j \to i} \lVert x_i - x_j \rVert^2` of size :math:`\alpha` for node i (the same for unit
    rows). A node without incoming edges stays where it is.

    Args:
        step_size: :math:`\alpha`; 1 replaces a node by its hardest positive.
        similarity: ``"cosine"`` or ``"distance"``. The choice carries no gradient, the chosen features do.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))`, edges :math:`(2, E)`,
          ``EdgeIndex`` or a sparse :math:`A^\top` (its weights are not used)
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
          Of a static graph features :math:`(B, n, d)`, or a pair of them
        - **output:** :math:`(n, d)`, :math:`(n_t, d)`, or B of these
    """

    def __init__(self, step_size: float = 0.5, similarity: str = "cosine"):
        super().__init__(aggr="add")
        check_number("HardestPositiveConv", step_size=step_size)
        check_choice("HardestPositiveConv", ("cosine", "distance"), similarity=similarity)
        self.step_size = step_size
        self.similarity = similarity

    @static_graphs
    def forward(self, x: Nodes, edge_index: Adj, size: Size = None) -> Tensor:
        x = with_targets("HardestPositiveConv", x, size)
        edge_index, _ = as_edges("HardestPositiveConv", widen("HardestPositiveConv", x), edge_index)
        source, target = x if isinstance(x, tuple) else (x, x)
        hardest = self.hardest(x, edge_index)
        receives = hardest < source.size(0)
        if self.by_messages(HardestPositiveConv, source):
            chosen = edge_index[0] == hardest[edge_index[1]]
            # Duplicate edges count as one positive.
            share = chosen.to(source.dtype)
            count = share.new_zeros(target.size(0)).index_add(0, edge_index[1], share)
            share = share / count.clamp(min=1)[edge_index[1]]
            size = (source.size(0), target.size(0))
            out: Tensor = self.propagate(edge_index, x=(source, target), share=share, size=size)
            return (target + self.step_size * out).to(target.dtype)
        if source.size(0) == 0:
            return target
        message = source[hardest.clamp(max=source.size(0) - 1)]
        moved = (target + self.step_size * (message - target)).to(target.dtype)
        return torch.where(receives.unsqueeze(1), moved, target)

    @torch.no_grad()
    def hardest(self, x: Features, edge_index: Tensor) -> Tensor:
        """The source :math:`b^*(i)` of each target ``(n,)``; the number of sources where a target has no edge."""
        source, target = widen("HardestPositiveConv", x)
        edge_index, _ = as_edges("HardestPositiveConv", (source, target), edge_index)
        row, column = edge_index[0], edge_index[1]
        if self.similarity == "cosine":
            closeness = (unit_rows(source)[row] * unit_rows(target)[column]).sum(-1)
        else:
            closeness = -(source[row] - target[column]).square().sum(-1)
            if host_checks(closeness) and closeness.numel() and not _exact(closeness):
                closeness = -(source[row].double() - target[column].double()).square().sum(-1)
        least = closeness.new_zeros(target.size(0))
        least = least.scatter_reduce(0, column, closeness, "amin", include_self=False)
        # A positive of NaN is chosen, so that it is seen.
        candidate = torch.where((closeness == least[column]) | closeness.isnan(), row, source.size(0))
        none = row.new_full((target.size(0),), source.size(0))
        return none.scatter_reduce(0, column, candidate, "amin")

    def message(self, x_i: Tensor, x_j: Tensor, share: Tensor) -> Tensor:
        return share.unsqueeze(-1) * (x_j - x_i)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step_size={self.step_size}, similarity={self.similarity!r})"


def _exact(square: Tensor) -> bool:
    """Whether the squared distances, which are negative here, are neither too small nor too large for float32."""
    return bool(square.min() > -1e30 and (square < -1e-30).all())
