from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import softmax

from cl_as_gnn.nn.checks import Got, check_choice, check_number, expects
from cl_as_gnn.nn.edges import Features, as_edges, widen
from cl_as_gnn.nn.unit import unit_rows


class PositiveAttention(torch.nn.Module):
    r"""Attention weights over positive edges, the graph attention of `"A Message Passing Perspective on Learning
    Dynamics of Contrastive Learning" <https://arxiv.org/abs/2303.04435>`_ (and of `GAT
    <https://arxiv.org/abs/1710.10903>`_, with cosine similarity as the attention function).

    .. math::
        a_{ij} = \frac{e^{\beta \cos(h_i, h_j)}}{\sum_{k \in \mathcal{P}(i)} e^{\beta \cos(h_i, h_k)}}
        \;\; (\text{per anchor}), \qquad
        a_{ij} = \frac{n \, e^{\beta \cos(h_i, h_j)}}{\sum_{(k, l)} e^{\beta \cos(h_k, h_l)}} \;\; (\text{per batch}),

    in matrix form :math:`\mathcal{A} = \mathrm{diag}(K \mathbf{1})^{-1} K` and
    :math:`\mathcal{A} = n K / (\mathbf{1}^\top K \mathbf{1})`, where :math:`K = e^{\beta \cos(H, H)} \circ A` on the
    edges :math:`A`, and :math:`\mathcal{P}(i)` are the sources of the edges into i. Edges run from ``edge_index[0]``
    (the positive j) to ``edge_index[1]`` (the anchor i). The weights are constants: no gradient flows through them.

    Args:
        sharpness: :math:`\beta`; 0 gives every positive the same weight.
        normalize: ``"anchor"`` (attention; it has an effect only with two or more positives per node) or
            ``"batch"`` (the paper's released two-view form: importance weights of pairs, summing to the n anchors).

    Shapes:
        - **input:** features :math:`(n, d)`, edges :math:`(2, E)`
        - **output:** weights :math:`(E)`
    """

    def __init__(self, sharpness: float = 1.0, normalize: str = "anchor"):
        super().__init__()
        check_number("PositiveAttention", sharpness=sharpness)
        check_choice("PositiveAttention", ("anchor", "batch"), normalize=normalize)
        self.sharpness = sharpness
        self.normalize = normalize

    def reset_parameters(self) -> None:
        r"""No parameters; PyG's containers call it."""

    @torch.no_grad()
    def forward(self, x: Features, edge_index: Tensor) -> Tensor:
        wide, _ = widen("PositiveAttention", x)
        if isinstance(x, tuple):
            raise expects("PositiveAttention", "x", "as one set of nodes", Got("a pair"), "pass one feature matrix")
        edge_index, _ = as_edges("PositiveAttention", (wide, wide), edge_index)
        source, target = edge_index
        unit = unit_rows(wide)
        logits = self.sharpness * (unit[source] * unit[target]).sum(-1)
        if self.normalize == "anchor":
            weight: Tensor = softmax(logits, target, num_nodes=wide.size(0))
            return weight
        return torch.softmax(logits, dim=0) * wide.size(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sharpness={self.sharpness}, normalize={self.normalize!r})"
