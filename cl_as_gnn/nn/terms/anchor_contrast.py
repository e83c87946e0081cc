from __future__ import annotations

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms.base import Term


class AnchorContrast(Term):
    r"""Softmax of each fixed anchor over the nodes of another view, the loss of `NNCLR
    <https://arxiv.org/abs/2104.14548>`_.

    .. math::
        L = -\frac{1}{V (V - 1) B} \sum_{a \neq b} \sum_i
            \log \frac{e^{y^a_i \cdot x^b_i / \tau}}{\sum_k e^{y^a_i \cdot x^b_k / \tau}}, \qquad
        m^b_k \propto \sum_a \Big( y^a_k - \sum_i P^{ab}_{ik} \, y^a_i \Big),

    :math:`P^{ab}` the row softmax of the anchors of view a over the nodes of view b. Only the nodes get messages.

    Args:
        anchor: :math:`Y`, ``(n, d)``, view-major like the nodes.
        temperature: :math:`\tau`.
        num_views: V.
    """

    def __init__(self, anchor: Tensor, temperature: float, num_views: int):
        self.anchor, self.temperature, self.num_views = anchor, temperature, num_views

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        nodes, anchors = x.chunk(self.num_views), self.anchor.detach().to(x.dtype).chunk(self.num_views)
        value, parts = x.new_zeros(()), [torch.zeros_like(part) for part in nodes]
        for a, anchor in enumerate(anchors):
            for b, node in enumerate(nodes):
                if a != b:
                    lse, _, repelled = softmax_bipartite(anchor, node, self.temperature)
                    value += lse.sum() - (anchor * node).sum() / self.temperature
                    parts[b] += anchor - repelled
        count = x.size(0) * (self.num_views - 1)
        return value / count, torch.cat(parts) / (self.temperature * count)
