"""Contrastive losses that take their positives as edges of a graph.

Each normalizes the rows of ``x`` if its paper does, streams what would be :math:`n \\times n`, and keeps the edge
weights constant. Row 0 of ``edge_index`` holds the sources j (the positives), row 1 the targets i (the anchors). A pair
``(x_src, x_dst)`` is a bipartite graph as in PyG's layers: row 0 indexes ``x_src``, row 1 indexes ``x_dst``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from cl_as_gnn.nn.checks import (
    Got,
    check_batch,
    check_count,
    check_device,
    check_edges,
    check_positive,
    check_range,
    check_same_graph,
    check_weights,
    expects,
)
from cl_as_gnn.nn.edges import Features, widen
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import linear_attention
from cl_as_gnn.nn.streaming.all_pairs import products_in_bf16
from cl_as_gnn.nn.terms import (
    Attraction,
    BipartiteGaussian,
    BipartiteRepulsion,
    EdgeContrast,
    GaussianRepulsion,
    PowerAlignment,
    SoftmaxRepulsion,
    objective,
)
from cl_as_gnn.nn.terms.base import total_weight
from cl_as_gnn.nn.unit import not_too_long, unit_rows

# Up to so many positives per node each is visited alone, beyond it their sums cost less.
_FEW = 8


def _sets(name: str, x: Features, batch: Tensor | None) -> tuple[Tensor, ...]:
    """One feature matrix or two of one type, float32 or float64."""
    source, target = widen(name, x)
    if not isinstance(x, tuple):
        check_batch(name, batch, source)
        return (source,)
    if batch is not None:
        raise expects(name, "batch", "with one set of nodes only", Got("a pair"), "pass batch=None")
    return source, target.to(source.dtype)


def _unit(sets: tuple[Tensor, ...]) -> Tensor:
    """Unit rows, of a pair those of the sources first."""
    x = torch.cat(sets) if len(sets) > 1 else sets[0]
    return unit_rows(x).contiguous()


def _edge_weight(name: str, edge_index: Tensor, edge_weight: Tensor | None, sets: tuple[Tensor, ...]) -> Tensor | None:
    """The weights as constants of the type of the features."""
    check_edges(name, edge_index, edge_weight)
    check_device(name, sets[0], edge_index=edge_index, edge_weight=edge_weight)
    check_range(name, edge_index, (sets[0].size(0), sets[-1].size(0)))
    check_weights(name, edge_weight)
    return None if edge_weight is None else edge_weight.detach().to(sets[0].dtype)


def nt_xent(
    x: Features,
    edge_index: Tensor,
    temperature: float = 0.5,
    edge_weight: Tensor | None = None,
    batch: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""NT-Xent (`SimCLR <https://arxiv.org/abs/2002.05709>`_) with positives given as edges, in memory linear in n.

    With :math:`z_i = x_i / \lVert x_i \rVert` and positive edges :math:`j \to i` of weight :math:`a_{ij}`,

    .. math::
        L = -\frac{1}{\sum a} \sum_{j \to i} a_{ij}
            \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{k \neq i} e^{z_i \cdot z_k / \tau}},
        \qquad
        \frac{\partial L}{\partial Z} = -\frac{1}{\tau \sum a} \left[ (A + A^\top) - (RP + P^\top R) \right] Z ,

    :math:`R` the row sums of :math:`A`. With one mutual positive per node, this is
    :math:`-c \, (A - \tfrac12 (P + P^\top)) Z` with :math:`c = 2 / (n \tau)`: a graph convolution minus
    self-attention. Value and gradient are computed together by streaming, by the term
    :class:`~cl_as_gnn.nn.terms.EdgeContrast`; with more than 8 positives per node, or in bfloat16, as the sum of
    :class:`~cl_as_gnn.nn.terms.Attraction` and :class:`~cl_as_gnn.nn.terms.SoftmaxRepulsion`, whose difference is
    rounded to 1e-7 of each.

    Between two sets of nodes (two encoders, two modalities, a bank) it is InfoNCE: each anchor :math:`u_i`, a row of
    ``x_dst``, is contrasted with all rows :math:`v_k` of ``x_src``, its positives included,

    .. math::
        L = -\frac{1}{\sum a} \sum_{j \to i} a_{ij}
            \log \frac{e^{u_i \cdot v_j / \tau}}{\sum_k e^{u_i \cdot v_k / \tau}},
        \qquad
        \frac{\partial L}{\partial U} = -\frac{(A - RP) V}{\tau \sum a}, \quad
        \frac{\partial L}{\partial V} = -\frac{(A - RP)^\top U}{\tau \sum a} .

    The mean of it and of its reverse, ``nt_xent((x_dst, x_src), edge_index.flip(0))``, is CLIP's loss.

    Args:
        x: features ``(n, d)`` of any length, or a pair ``(x_src, x_dst)``, ``((n_s, d), (n_t, d))``, both trained
            unless detached; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``, in any order: row 0 the positives j, row 1 the anchors i. An anchor may
            have several positives.
        temperature: :math:`\tau > 0`.
        edge_weight: non-negative weights ``(E,)``; constants (no gradient flows to them).
        batch: graph of each node ``(n,)``; negatives and positives are nodes of the anchor's graph. Not for a pair.
        chunk: similarities are computed ``chunk`` × ``chunk`` at a time, for a pair ``chunk`` anchors at a time. The
            default depends on the device (a few MB on a CPU).

    Returns:
        a scalar, 0 without edges; equals ``lightly.loss.NTXentLoss`` on the same pairs. Differentiable once.

    Raises:
        ValueError: for a temperature that is not positive, a wrong shape or type, ``batch``
            with a pair, and (detected on a CPU only) an index out of range or a positive in another graph of
            ``batch``.
    """
    name = "nt_xent"
    check_positive(name, temperature=temperature)
    check_count(name, chunk=chunk, optional=True)
    sets = _sets(name, x, batch)
    z, sizes = _unit(sets), (sets[0].size(0), sets[-1].size(0))
    edge_weight = _edge_weight(name, edge_index, edge_weight, sets)
    check_same_graph(name, batch, edge_index)
    few = sizes[0] > 1 and edge_index.size(1) <= _FEW * sizes[0]
    if len(sets) == 1 and few and not products_in_bf16(z, temperature):
        return objective(z, EdgeContrast(edge_index, temperature, edge_weight, batch, chunk))
    graph = Adjacency(edge_index, edge_weight, sizes)
    weight = graph.row_sum.to(z.dtype)
    total = total_weight(weight)
    if len(sets) == 1:
        attraction = Attraction(graph, temperature, total=total)
        return objective(z, attraction, SoftmaxRepulsion(temperature, weight, batch=batch, total=total, tile=chunk))
    attraction = Attraction(graph, temperature, sizes[0], total)
    return objective(z, attraction, BipartiteRepulsion(sizes[0], temperature, weight, chunk))


def alignment_loss(
    x: Features, edge_index: Tensor, alpha: float = 2, edge_weight: Tensor | None = None, chunk: int | None = None
) -> Tensor:
    r"""Alignment of positive pairs, from `"Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere" <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{1}{\sum a} \sum_{j \to i} a_{ij} \lVert z_i - z_j \rVert^\alpha, \qquad
        -\frac{\partial L}{\partial z_i} = \frac{\alpha}{\sum a} \sum_j
            (a_{ij} + a_{ji}) \lVert z_i - z_j \rVert^{\alpha - 2} (z_j - z_i),

    :math:`z_i = x_i / \lVert x_i \rVert`: a message along every edge, and back; detach ``x_src`` of a pair to move the
    targets alone. For :math:`\alpha = 2` it is the Dirichlet energy of the graph, whose gradient step is
    :class:`~cl_as_gnn.nn.AlignmentConv`. Pairs at distance zero send nothing.

    Args:
        x: features ``(n, d)`` of any length, or a pair ``(x_src, x_dst)``; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``, in any order: row 0 the sources j, row 1 the targets i.
        alpha: :math:`\alpha > 0`.
        edge_weight: non-negative weights ``(E,)``; constants.
        chunk: edges visited at a time.

    Returns:
        a scalar, 0 without edges. Differentiable once.
    """
    name = "alignment_loss"
    check_positive(name, alpha=alpha)
    check_count(name, chunk=chunk, optional=True)
    sets = _sets(name, x, None)
    z = _unit(sets)
    weight = _edge_weight(name, edge_index, edge_weight, sets)
    if len(sets) > 1:
        edge_index = torch.stack([edge_index[0], edge_index[1] + sets[0].size(0)])
    return objective(z, PowerAlignment(edge_index, alpha, 1.0, weight, chunk))


def uniformity_loss(x: Features, t: float = 2, batch: Tensor | None = None, chunk: int | None = None) -> Tensor:
    r"""Uniformity on the sphere, from `"Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere" <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \log \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} e^{-t \lVert z_i - z_j \rVert^2}, \qquad
        -\frac{\partial L}{\partial z_i} = 4 t \sum_j K_{ij} (z_i - z_j), \quad
        K_{ij} = \frac{e^{2 t z_i \cdot z_j}}{\sum_{(k, l) \in \mathcal{N}} e^{2 t z_k \cdot z_l}},

    :math:`z_i = x_i / \lVert x_i \rVert` and :math:`\mathcal{N}` the pairs of different nodes (of one graph, where
    ``batch`` is given): repelling messages along the complete graph, normalized once over all pairs, not by row.
    Streamed in one pass. For a pair, :math:`\mathcal{N}` holds all pairs of a source and a target.

    Args:
        x: features ``(n, d)`` of any length, two nodes or more, or a pair ``(x_src, x_dst)``; half precision is
            computed in float32.
        t: :math:`t > 0`.
        batch: graph of each node ``(n,)``; at least one graph has two nodes or more. Not for a pair.
        chunk: rows visited at a time.

    Returns:
        a scalar, at least :math:`-4t`. Differentiable once.
    """
    name = "uniformity_loss"
    check_positive(name, t=t)
    check_count(name, chunk=chunk, optional=True)
    sets = _sets(name, x, batch)
    z = _unit(sets)
    if len(sets) > 1:
        return objective(z, BipartiteGaussian(sets[0].size(0), t, chunk))
    if not (z.size(0) > 1 if batch is None else (torch.bincount(batch) > 1).any()):
        raise expects(name, "x", "with two nodes or more in one graph", Got(f"{z.size(0)} nodes in as many graphs"))
    return objective(z, GaussianRepulsion(t, batch=batch, chunk=chunk))


def spectral_contrastive_loss(
    x: Features, edge_index: Tensor, mu: float = 1.0, edge_weight: Tensor | None = None, batch: Tensor | None = None
) -> Tensor:
    r"""Spectral contrastive loss, from `"Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss" <https://arxiv.org/abs/2106.04156>`_, in :math:`O(n d^2)`.

    .. math::
        L = \frac1\mu \Big[ -\frac{2}{\sum a} \sum_{j \to i} a_{ij} \, z_i \cdot z_j
            + \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} (z_i \cdot z_j)^2 \Big], \qquad
        -\frac{\partial L}{\partial Z} = \frac2\mu \Big[ \frac{A + A^\top}{\sum a} Z
            - \frac{2}{|\mathcal{N}|} (ZZ^\top - \mathrm{diag}) Z \Big],

    :math:`\mathcal{N}` the pairs of different nodes (of one graph, where ``batch`` is given; the authors' code
    takes pairs of different samples in different views). The sum of squares is
    :math:`\lVert Z^\top Z \rVert_F^2 - \sum_i \lVert z_i \rVert^4`: the repulsion is linear attention. Rows
    longer than :math:`\sqrt\mu` are scaled to that length, shorter rows are kept, as in the authors' code. For a
    pair, :math:`\mathcal{N}` holds all pairs of a source and a target.

    Args:
        x: features ``(n, d)``, or a pair ``(x_src, x_dst)``; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``, in any order: row 0 the sources j, row 1 the targets i.
        mu: :math:`\mu > 0`, 1 on CIFAR-10 and 10 on ImageNet.
        edge_weight: non-negative weights ``(E,)``; constants.
        batch: graph of each node ``(n,)``. Not for a pair.

    Returns:
        a scalar, without edges its repulsion alone; differentiable any number of times.
    """
    name = "spectral_contrastive_loss"
    check_positive(name, mu=mu)
    sets = _sets(name, x, batch)
    weight = _edge_weight(name, edge_index, edge_weight, sets)
    with torch.autocast(sets[0].device.type, enabled=False):
        sets = tuple(not_too_long(z) for z in sets)
        sets = tuple(z * (math.sqrt(mu) / z.norm(dim=1, keepdim=True).clamp(min=math.sqrt(mu))) for z in sets)
        source, target = sets[0], sets[-1]
        graph = Adjacency(edge_index, weight, (source.size(0), target.size(0)))
        attraction = (target * graph.matmul(source)).sum() / total_weight(graph.row_sum.to(source.dtype))
        if len(sets) > 1:
            squares, pairs = ((source.t() @ source) * (target.t() @ target)).sum(), source.size(0) * target.size(0)
            return (-2 * attraction + squares / max(pairs, 1)) / mu
        own = source.square().sum(1).square().sum()
        if batch is None:
            size, squares = source.new_full((1,), source.size(0)), (source.t() @ source).square().sum()
        else:
            size = scatter(torch.ones_like(batch), batch, reduce="sum")
            squares = (source * linear_attention(source, source, source, batch)).sum()
        count = (size * (size - 1)).sum()
        loss: Tensor = (-2 * attraction + (squares - own) / count.to(source.dtype).clamp(min=1)) / mu
        return loss
