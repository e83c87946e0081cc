"""Contrastive losses that take their positives as edges of a graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.nn.adjacency import Adjacency
from cl_as_gnn.nn.objective import Attraction, SoftmaxRepulsion, objective


def nt_xent(
    x: Tensor,
    edge_index: Tensor,
    temperature: float = 0.5,
    edge_weight: Tensor | None = None,
    batch: Tensor | None = None,
) -> Tensor:
    r"""NT-Xent (`SimCLR <https://arxiv.org/abs/2002.05709>`_) with positives given as edges, in memory linear in n.

    With :math:`z_i = x_i / \lVert x_i \rVert` and positive edges :math:`i \to j` of weight :math:`a_{ij}`,

    .. math::
        L = -\frac{1}{\sum a} \sum_{i \to j} a_{ij}
            \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{k \neq i} e^{z_i \cdot z_k / \tau}},
        \qquad
        \frac{\partial L}{\partial Z} = -\frac{1}{\tau \sum a} \left[ (A + A^\top) - (RP + P^\top R) \right] Z ,

    :math:`R` the row sums of :math:`A`. With one positive a node this is
    :math:`-c \, (A - \tfrac12 (P + P^\top)) Z` with :math:`c = 2 / (n \tau)`: a graph convolution minus
    self-attention. The value and the gradient are computed together by streaming; ``backward`` only hands it over.

    Args:
        x: features ``(n, d)`` of any length; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``: row 0 the anchors i, row 1 their positives j. Any order; several a node.
        temperature: :math:`\tau > 0`.
        edge_weight: non-negative weights ``(E,)``; constants (no gradient flows to them).
        batch: graph of each node ``(n,)``: only nodes of the same graph are negatives.

    Returns:
        a scalar; equals ``lightly.loss.NTXentLoss`` on the same pairs. Differentiable once.

    Raises:
        ValueError: on an empty ``edge_index``, a temperature that is not positive, or a wrong shape.
    """
    if x.dim() != 2:
        raise ValueError(f"nt_xent wants features of shape (n, d), got {tuple(x.shape)}")
    if edge_index.size(1) == 0:
        raise ValueError("nt_xent got no positive edges: it wants at least one column in edge_index")
    if not temperature > 0:
        raise ValueError(f"nt_xent wants a positive temperature, got {temperature}")
    with torch.autocast(x.device.type, enabled=False):
        z = F.normalize(x if x.dtype in (torch.float32, torch.float64) else x.float(), dim=1)
    weight = None if edge_weight is None else edge_weight.detach().to(z.dtype)
    graph = Adjacency(edge_index.flip(0), weight, z.size(0))
    return objective(
        z,
        Attraction(graph, temperature),
        SoftmaxRepulsion(temperature, graph.row_sum.to(z.dtype), batch=batch),
    )
