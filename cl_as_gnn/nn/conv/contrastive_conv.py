from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor, Size

from cl_as_gnn.nn.checks import (
    Got,
    check_batch,
    check_choice,
    check_flag,
    check_positive,
    check_same_graph,
    expects,
)
from cl_as_gnn.nn.conv.base import Aggregation
from cl_as_gnn.nn.conv.static import static_graphs
from cl_as_gnn.nn.conv.uniformity_conv import repel_step
from cl_as_gnn.nn.edges import Nodes, as_edges, widen, with_targets
from cl_as_gnn.nn.streaming import softmax_all_pairs
from cl_as_gnn.nn.unit import for_products


class ContrastiveConv(Aggregation):
    r"""Attraction and repulsion at once, from `"A Message Passing Perspective on Learning Dynamics of Contrastive
    Learning" <https://arxiv.org/abs/2303.04435>`_: the signed message-passing update.

    .. math::
        X' = X + \alpha \left( \hat{A}^L X - P X \right), \qquad
        x_i' = x_i + \alpha \Big( \sum_{j \to i} \hat a_{ij} x_j - \sum_{j \neq i} P_{ij} x_j \Big),

    :math:`\hat A` as in :class:`AlignmentConv`, :math:`P` as in :class:`UniformityConv`. It is the sum of the two
    layers' updates. At its fixed points the graph of positives and the affinity graph of the features agree,
    :math:`\hat A X = P X`. A node without positives is only repelled.

    With ``symmetric=True`` the repulsion is :math:`\tfrac12 (P + P^\top) X`, and for unit rows and a positive graph
    with one mutual positive per node, the update is exactly a gradient step on NT-Xent,
    :math:`X' = X - \frac{\alpha n \tau}{2} \, \partial L / \partial X` (no gradient flows through that repulsion).

    Args:
        temperature: :math:`\tau > 0`.
        step_size: :math:`\alpha`.
        num_hops: hops :math:`L` of the attraction.
        repel: use of ``affinity_index``: ``"complete"`` adds it to the attracting edges (diffusion), and every node is
            repelled from all others; ``"affinity"`` repels along it alone.
        symmetric: repel by both directions of the loss's gradient instead of one; ``repel="complete"`` only.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))` (one hop, not symmetric),
          positive edges :math:`(2, E)`, affinity edges :math:`(2, E')` (messages flow from row 0 to row 1; each may
          be an ``EdgeIndex`` or a sparse :math:`A^\top`, whose weights are used only where it attracts alone), graph
          of each node :math:`(n)`
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
          Of a static graph features :math:`(B, n, d)`, one set of nodes in each of B copies
        - **output:** :math:`(n, d)`, :math:`(n_t, d)` or :math:`(B, n, d)`
    """

    def __init__(
        self,
        temperature: float = 0.5,
        step_size: float = 0.5,
        num_hops: int = 1,
        repel: str = "complete",
        symmetric: bool = False,
    ):
        check_positive("ContrastiveConv", temperature=temperature)
        check_choice("ContrastiveConv", ("complete", "affinity"), repel=repel)
        check_flag("ContrastiveConv", symmetric=symmetric)
        if symmetric and repel == "affinity":
            raise expects("ContrastiveConv", "repel", "as 'complete' where symmetric=True", repel)
        super().__init__(step_size, num_hops, normalize=True)
        self.temperature = temperature
        self.repel = repel
        self.symmetric = symmetric

    @static_graphs
    def forward(
        self,
        x: Nodes,
        edge_index: Adj,
        affinity_index: Adj | None = None,
        batch: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        x = with_targets("ContrastiveConv", x, size)
        name, ends, pair = "ContrastiveConv", widen("ContrastiveConv", x), isinstance(x, tuple)
        if pair and (batch is not None or self.symmetric):
            cure = "pass batch=None and use symmetric=False"
            raise expects(name, "x", "as one set of nodes with batch or symmetric=True", Got("a pair"), cure)
        check_batch(name, batch, ends[1])
        positives, weight = as_edges(name, ends, edge_index)
        repelling = None
        if affinity_index is not None:
            affinity, _ = as_edges(name, ends, affinity_index, key="affinity_index")
            if self.repel == "affinity":
                repelling = affinity
                check_same_graph(name, batch, repelling, "repelling", "affinity_index")
            elif self.explain:
                cure = "join both before the model, or use repel='affinity'"
                raise expects(name, "affinity_index", "as None for an explainer of edge_index", affinity, cure)
            else:
                positives, weight = torch.cat([positives, affinity], dim=1), None
        elif self.repel == "affinity":
            raise expects(name, "affinity_index", "as edges to repel along where repel='affinity'", None)
        attracted = self._attract(x, positives, weight)
        target = x[1] if isinstance(x, tuple) else x
        if self.symmetric:
            _, repelled = softmax_all_pairs(for_products(target)[0], self.temperature, batch=batch)
            return attracted + self.step_size * (target - repelled.to(target.dtype) / 2)
        return attracted + repel_step(name, x, repelling, batch, self.temperature, self.step_size) - target

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(temperature={self.temperature}, step_size={self.step_size}, "
            f"num_hops={self.num_hops}, repel={self.repel!r}, symmetric={self.symmetric})"
        )
