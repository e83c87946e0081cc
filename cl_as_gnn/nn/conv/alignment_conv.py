from __future__ import annotations

from torch import Tensor
from torch_geometric.typing import Adj, OptTensor, Size

from cl_as_gnn.nn.checks import expects
from cl_as_gnn.nn.conv.base import Aggregation
from cl_as_gnn.nn.conv.static import static_graphs
from cl_as_gnn.nn.edges import Nodes, with_targets


class AlignmentConv(Aggregation):
    r"""The alignment update of contrastive learning, from `"A Message Passing Perspective on Learning Dynamics of
    Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_: a lazy graph convolution.

    .. math::
        X' = (1 - \alpha) X + \alpha \hat{A}^L X, \qquad
        x_i' = (1 - \alpha) x_i + \alpha \sum_{j \to i} \frac{a_{ij}}{\sqrt{d_i d_j}} x_j \;\; (L = 1),

    with :math:`\hat A = D_\text{in}^{-1/2} A D_\text{out}^{-1/2}`, :math:`d_i` the in-degree of the target and
    :math:`d_j` the out-degree of the source, so that the outermost nodes of a sampled subgraph contribute. No
    self-loops are added. Messages flow from ``edge_index[0]`` to ``edge_index[1]``. With :math:`L = 1` and symmetric
    edges this is a gradient step on :math:`\tfrac12 \mathrm{Tr}(X^\top (I - \hat A) X)` of size :math:`\alpha`. A node
    without incoming edges stays where it is. To an explainer of PyG each hop is a layer (``num_layers``).

    Args:
        step_size: :math:`\alpha`; 1 replaces a node by its neighborhood.
        num_hops: :math:`L \ge 1`.
        normalize: ``False`` uses the edge weights unchanged.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))` (one hop only), edges
          :math:`(2, E)`, ``EdgeIndex`` or a sparse :math:`A^\top`, weights :math:`(E)`
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
          Of a static graph features :math:`(B, n, d)`, or a pair of them
        - **output:** :math:`(n, d)`, :math:`(n_t, d)`, or B of these
    """

    def __init__(self, step_size: float = 0.5, num_hops: int = 1, normalize: bool = True, **kwargs: object):
        if kwargs.setdefault("aggr", "add") not in ("add", "sum"):
            raise expects("AlignmentConv", "aggr", "as 'add'", kwargs["aggr"], "its messages are summed")
        if kwargs.setdefault("flow", "source_to_target") != "source_to_target":
            raise expects("AlignmentConv", "flow", "as 'source_to_target'", kwargs["flow"], "flip edge_index")
        super().__init__(step_size, num_hops, normalize, **kwargs)

    @static_graphs
    def forward(self, x: Nodes, edge_index: Adj, edge_weight: OptTensor = None, size: Size = None) -> Tensor:
        return self._attract(with_targets("AlignmentConv", x, size), edge_index, edge_weight)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(step_size={self.step_size}, num_hops={self.num_hops}, normalize={self.normalize})"
        )
