from __future__ import annotations

from torch import Tensor
from torch_geometric.typing import Adj, OptTensor, Size
from torch_geometric.utils import degree

from cl_as_gnn.nn.checks import Got, check_batch, expects
from cl_as_gnn.nn.conv.base import Aggregation
from cl_as_gnn.nn.conv.static import static_graphs
from cl_as_gnn.nn.edges import Nodes, widen, with_targets
from cl_as_gnn.nn.streaming import linear_attention


class SpectralConv(Aggregation):
    r"""The spectral contrastive update, from `"Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss" <https://arxiv.org/abs/2106.04156>`_: graph convolution minus linear attention.

    .. math::
        X' = X + \alpha (\hat{A} X - X C), \qquad C = \tfrac1n X^\top X, \qquad
        x_i' = x_i + \alpha \Big( \sum_{j \to i} \hat a_{ij} x_j - \frac1n \sum_j (x_i \cdot x_j) \, x_j \Big),

    :math:`\hat A` as in :class:`AlignmentConv`, attracting messages along ``edge_index[0]`` → ``edge_index[1]``, the
    repelling ones from every node (of the same graph, self included) to every node, in :math:`O(n d^2)` through the
    :math:`d \times d` second moment. For symmetric edges it is a gradient step of size :math:`\alpha` on
    :math:`\tfrac1{4n} \lVert X^\top X \rVert_F^2 - \tfrac12 \mathrm{Tr}(X^\top \hat{A} X)`, whose minima span the
    leading eigenvectors of :math:`\hat A`. A node without incoming edges is only repelled. The repulsion is cubic in
    the length of the features: keep :math:`\lVert x_i \rVert \lesssim \sqrt{d}`.

    Args:
        step_size: :math:`\alpha`.
        normalize: ``False`` uses the edge weights unchanged.

    Shapes:
        - **input:** features :math:`(n, d)` or bipartite :math:`((n_s, d), (n_t, d))` (C is then of the sources),
          edges :math:`(2, E)`, ``EdgeIndex`` or a sparse :math:`A^\top`, weights :math:`(E)`, graph of each node
          :math:`(n)`
          Of a pair :math:`(x, \mathrm{None})` with ``size`` :math:`(n_s, n_t)` the targets are zeros
          Of a static graph features :math:`(B, n, d)`, one set of nodes in each of B copies
        - **output:** :math:`(n, d)`, :math:`(n_t, d)` or :math:`(B, n, d)`
    """

    def __init__(self, step_size: float = 0.5, normalize: bool = True):
        super().__init__(step_size, 1, normalize)

    @static_graphs
    def forward(
        self,
        x: Nodes,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        batch: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        x = with_targets("SpectralConv", x, size)
        source, target = widen("SpectralConv", x)
        if isinstance(x, tuple) and batch is not None:
            raise expects("SpectralConv", "batch", "with one set of nodes only", Got("a pair"), "pass batch=None")
        check_batch("SpectralConv", batch, target)
        aggregated, _, _ = self._aggregate(
            (source, target) if isinstance(x, tuple) else source, edge_index, edge_weight
        )
        repelled = linear_attention(target, source, source, batch)
        count: int | Tensor = max(source.size(0), 1)
        if batch is not None:
            count = degree(batch, dtype=target.dtype)[batch].unsqueeze(1)
        moved = target + self.step_size * (aggregated - repelled / count)
        return moved.to((x[1] if isinstance(x, tuple) else x).dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step_size={self.step_size}, normalize={self.normalize})"
