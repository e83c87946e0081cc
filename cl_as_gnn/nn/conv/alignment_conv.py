from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor, Size
from torch_geometric.utils import scatter

from cl_as_gnn.nn.checks import check_count, check_flag, check_number, check_weights, expects
from cl_as_gnn.nn.edges import Features, Nodes, as_edges, by_messages, widen, with_targets
from cl_as_gnn.nn.operators import Adjacency

SIGNED = "use normalize=False for signed weights"


class AlignmentConv(MessagePassing):  # type: ignore[misc]
    r"""The alignment update of contrastive learning, from `"A Message Passing Perspective on Learning Dynamics of
    Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_: a lazy graph convolution.

    .. math::
        X' = (1 - \alpha) X + \alpha \hat{A}^L X, \qquad
        x_i' = (1 - \alpha) x_i + \alpha \sum_{j \to i} \frac{a_{ij}}{\sqrt{d_i d_j}} x_j \;\; (L = 1),

    with :math:`\hat A = D_\text{in}^{-1/2} A D_\text{out}^{-1/2}`, :math:`d_i` the in-degree of the target and
    :math:`d_j` the out-degree of the source, so that the outermost nodes of a sampled subgraph contribute. No
    self-loops are added. Messages flow from ``edge_index[0]`` to ``edge_index[1]``. With :math:`L = 1` and symmetric
    edges this is a gradient step on :math:`\tfrac12 \mathrm{Tr}(X^\top (I - \hat A) X)` of size :math:`\alpha`. A node
    without incoming edges stays where it is.

    Args:
        step_size: :math:`\alpha`; 1 replaces a node by its neighborhood.
        num_hops: :math:`L \ge 1`.
        normalize: ``False`` uses the edge weights unchanged.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))` (one hop only), edges
          :math:`(2, E)`, ``EdgeIndex`` or a sparse :math:`A^\top`, weights :math:`(E)`
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
        - **output:** :math:`(n, d)` or :math:`(n_t, d)`
    """

    def __init__(self, step_size: float = 0.5, num_hops: int = 1, normalize: bool = True, **kwargs: object):
        if kwargs.setdefault("aggr", "add") not in ("add", "sum"):
            raise expects("AlignmentConv", "aggr", "as 'add'", kwargs["aggr"], "its messages are summed")
        if kwargs.setdefault("flow", "source_to_target") != "source_to_target":
            raise expects("AlignmentConv", "flow", "as 'source_to_target'", kwargs["flow"], "flip edge_index")
        super().__init__(**kwargs)
        check_number("AlignmentConv", step_size=step_size)
        check_count("AlignmentConv", num_hops=num_hops)
        check_flag("AlignmentConv", normalize=normalize)
        self.step_size = step_size
        self.num_hops = num_hops
        self.normalize = normalize

    def forward(self, x: Nodes, edge_index: Adj, edge_weight: OptTensor = None, size: Size = None) -> Tensor:
        x = with_targets("AlignmentConv", x, size)
        out, target, degree = self._aggregate(x, edge_index, edge_weight)
        step = self.step_size * (degree != 0).to(out.dtype)
        return torch.lerp(target, out, step.unsqueeze(1)).to((x[1] if isinstance(x, tuple) else x).dtype)

    def gather(self, x: Features, edge_index: Adj, edge_weight: OptTensor = None) -> Tensor:
        r"""The message alone, :math:`\hat{A}^L X`: zeros for a node without incoming edges."""
        return self._aggregate(x, edge_index, edge_weight)[0].to((x[0] if isinstance(x, tuple) else x).dtype)

    def _aggregate(self, x: Features, edge_index: Adj, edge_weight: OptTensor) -> tuple[Tensor, Tensor, Tensor]:
        """Messages, targets, and the in-degree of each target (of absolute weights if not normalized)."""
        source, target = widen("AlignmentConv", x)
        if isinstance(x, tuple) and self.num_hops > 1:
            raise expects("AlignmentConv", "num_hops", "as 1 for a bipartite graph", self.num_hops)
        edge_index, edge_weight = as_edges("AlignmentConv", (source, target), edge_index, edge_weight)
        if self.normalize:
            check_weights("AlignmentConv", edge_weight, SIGNED)
        if edge_weight is None:
            edge_weight = source.new_ones(edge_index.size(1))
        row, column = edge_index[0], edge_index[1]
        weight = edge_weight.to(source.dtype)
        if self.normalize:
            degree = scatter(weight, column, dim_size=target.size(0), reduce="sum")
            out_degree = scatter(weight, row, dim_size=source.size(0), reduce="sum")
            weight = weight * _inverse_root(out_degree)[row] * _inverse_root(degree)[column]
        else:
            degree = scatter(weight.abs(), column, dim_size=target.size(0), reduce="sum")
        out, size = source, (source.size(0), target.size(0))
        graph = None if by_messages(self, AlignmentConv) else Adjacency(edge_index, weight, size)
        for _ in range(self.num_hops):
            if graph is None:
                out = self.propagate(edge_index, x=(out, target), edge_weight=weight, size=size)
            else:
                out = graph.matmul(out)
        return out, target, degree

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return edge_weight.unsqueeze(-1) * x_j

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(step_size={self.step_size}, num_hops={self.num_hops}, normalize={self.normalize})"
        )


def _inverse_root(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, degree.clamp(min=torch.finfo(degree.dtype).tiny).rsqrt(), 0)
