from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor, Size
from torch_geometric.utils import degree, softmax

from cl_as_gnn.nn.checks import Got, check_batch, check_number, check_positive, check_same_graph, expects
from cl_as_gnn.nn.conv.base import Summing
from cl_as_gnn.nn.conv.static import static_graphs
from cl_as_gnn.nn.edges import Features, Nodes, as_edges, widen, with_targets
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import pairwise_attention
from cl_as_gnn.nn.unit import for_products


class UniformityConv(Summing):
    r"""The uniformity update of contrastive learning, from `"A Message Passing Perspective on Learning Dynamics of
    Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_: self-attention with a minus sign.

    .. math::
        X' = (1 + \alpha) X - \alpha P X, \qquad
        x_i' = (1 + \alpha) x_i - \alpha \sum_{j \neq i} P_{ij} x_j, \qquad
        P_{ij} = \frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \neq i} e^{x_i \cdot x_k / \tau}},

    from raw inner products, without self-loops. Without ``edge_index`` every node receives from all others (of its
    graph, where ``batch`` is given), streamed so that no :math:`n \times n` tensor is kept. With it, node i attends
    over the edges j → i (``edge_index[0]`` to ``edge_index[1]``), which keep the graphs of a PyG batch apart: with
    ``batch`` an edge between two graphs is an error, detected on a CPU only. A node that receives nothing stays where
    it is. Inner products that overflow are computed in float64 on a CPU, and give NaN elsewhere.

    Args:
        temperature: :math:`\tau > 0`.
        step_size: :math:`\alpha`.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))`, edges :math:`(2, E)`,
          ``EdgeIndex`` or a sparse :math:`A^\top` (its weights are not used), graph of each node :math:`(n)`
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
          Of a static graph features :math:`(B, n, d)`, one set of nodes in each of B copies
        - **output:** :math:`(n, d)`, :math:`(n_t, d)` or :math:`(B, n, d)`
    """

    def __init__(self, temperature: float = 1.0, step_size: float = 0.5):
        super().__init__()
        check_positive("UniformityConv", temperature=temperature)
        check_number("UniformityConv", step_size=step_size)
        self.temperature = temperature
        self.step_size = step_size

    @static_graphs
    def forward(self, x: Nodes, edge_index: Adj | None = None, batch: OptTensor = None, size: Size = None) -> Tensor:
        x = with_targets("UniformityConv", x, size)
        return repel_step("UniformityConv", x, edge_index, batch, self.temperature, self.step_size, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(temperature={self.temperature}, step_size={self.step_size})"


def repel_step(
    name: str,
    x: Features,
    edge_index: Adj | None,
    batch: OptTensor,
    temperature: float,
    step_size: float,
    layer: UniformityConv | None = None,
) -> Tensor:
    """The features after a step away from the mean of the others, weighted by the softmax of their inner products.

    Args:
        name: of the layer, for its errors.
        x: features ``(n, d)``, or those of sources and of targets.
        edge_index: who is repelled from whom; ``None`` for all pairs.
        batch: graph of each node.
        temperature: :math:`\\tau`.
        step_size: :math:`\\alpha`.
        layer: that makes single messages where it has to.
    """
    source, target = widen(name, x)
    pair = isinstance(x, tuple)
    if pair and batch is not None:
        raise expects(name, "batch", "with one set of nodes only", Got("a pair"), "pass batch=None")
    check_batch(name, batch, target)
    source, target = for_products(source, target) if pair else for_products(source) * 2
    if edge_index is None:
        out = pairwise_attention(target, source, source, temperature, loops=pair, batch=batch)
        if batch is None:
            receives = torch.full((target.size(0),), pair or target.size(0) > 1, device=target.device)
        else:
            receives = _not_alone(batch)
    else:
        edge_index, _ = as_edges(name, (source, target), edge_index)
        check_same_graph(name, batch, edge_index, "repelling")
        row, column = edge_index[0], edge_index[1]
        logits = (source[row] * target[column]).sum(-1) / temperature
        share = softmax(logits, column, num_nodes=target.size(0))
        size = (source.size(0), target.size(0))
        if layer is not None and layer.by_messages(Summing, source):
            out = layer.send(edge_index, (source, target), share, size)
            receives = degree(column, target.size(0)) > 0
        else:
            graph = Adjacency(edge_index, share, size)
            out = graph.matmul(source)
            receives = graph.csr[0].diff() > 0
    moved = target + step_size * (target - out)
    return torch.where(receives.unsqueeze(1), moved, target).to((x[1] if isinstance(x, tuple) else x).dtype)


def _not_alone(batch: Tensor) -> Tensor:
    """Whether another node is in the same graph; found by sorting, so that the host does not wait for the device."""
    graph, order = batch.sort()
    same, end = graph[1:] == graph[:-1], torch.zeros(1, dtype=torch.bool, device=batch.device)
    return torch.empty_like(batch, dtype=torch.bool).scatter_(0, order, torch.cat([same, end]) | torch.cat([end, same]))
