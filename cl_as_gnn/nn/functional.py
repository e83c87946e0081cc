"""Contrastive losses that take their positives as edges of a graph.

Each normalizes the rows of ``x`` if its paper does, streams what would be :math:`n \\times n`, and keeps the edge
weights constant. Rows 0 of ``edge_index`` are the anchors, rows 1 their positives. A pair of feature matrices is a
bipartite graph: anchors are rows of the first, positives and all others rows of the second.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import scatter

from cl_as_gnn.nn.checks import check_batch, check_edges, check_range
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import gaussian_pairs, linear_attention, softmax_all_pairs, softmax_bipartite
from cl_as_gnn.nn.terms.base import objective
from cl_as_gnn.nn.terms.gaussian_repulsion import GaussianRepulsion
from cl_as_gnn.nn.terms.power_alignment import PowerAlignment

Features = Tensor | tuple[Tensor, Tensor]


def _features(name: str, x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} expects features (n, d), or a tuple of two, got {type(x).__name__}")
    if x.dim() != 2:
        raise ValueError(f"{name} expects features of shape (n, d), got {tuple(x.shape)}")
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _unit(name: str, x: Tensor) -> Tensor:
    x = _features(name, x)
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(x, dim=1).contiguous()


def _edges(name: str, edge_index: Tensor, edge_weight: Tensor | None, like: Tensor) -> Tensor | None:
    """The weights as constants of the type of ``like``; an error where there is nothing to attract."""
    check_edges(name, edge_index, edge_weight)
    if edge_index.size(1) == 0:
        raise ValueError(f"{name} got no positive edges: it expects at least one column in edge_index")
    return None if edge_weight is None else edge_weight.detach().to(like.dtype)


def _check_same_graph(batch: Tensor | None, edge_index: Tensor) -> None:
    """``ValueError`` for a positive in another graph, on a CPU; a GPU would be waited for."""
    if batch is None or batch.device.type != "cpu" or torch.compiler.is_compiling():
        return
    apart = int((batch[edge_index[0]] != batch[edge_index[1]]).sum())
    if apart:
        raise ValueError(
            f"nt_xent got {apart} positive edges between different graphs of `batch`, where a positive is not among "
            "the nodes that its anchor is told apart from: give the views of a graph one number (of two stacked views "
            "of g graphs, batch % g)"
        )


def _pair(name: str, x: tuple[Tensor, Tensor], batch: Tensor | None) -> tuple[Tensor, Tensor]:
    if batch is not None:
        raise ValueError(f"{name} takes `batch` within one set of nodes only: pass batch=None for a pair")
    first, second = (_features(name, part) for part in x)
    return first, second.to(first.dtype)


def _positive(name: str, **value: float | Tensor | None) -> None:
    for key, number in value.items():
        if isinstance(number, Tensor) and number.requires_grad:
            raise ValueError(f"{name} takes its {key} as a constant, which nothing would train: pass a number")
        if number is not None and not number > 0:
            raise ValueError(f"{name} expects a positive {key}, got {number}")


def nt_xent(
    x: Features,
    edge_index: Tensor,
    temperature: float = 0.5,
    edge_weight: Tensor | None = None,
    batch: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""NT-Xent (`SimCLR <https://arxiv.org/abs/2002.05709>`_) with positives given as edges, in memory linear in n.

    With :math:`z_i = x_i / \lVert x_i \rVert` and positive edges :math:`i \to j` of weight :math:`a_{ij}`,

    .. math::
        L = -\frac{1}{\sum a} \sum_{i \to j} a_{ij}
            \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{k \neq i} e^{z_i \cdot z_k / \tau}},
        \qquad
        \frac{\partial L}{\partial Z} = -\frac{1}{\tau \sum a} \left[ (A + A^\top) - (RP + P^\top R) \right] Z ,

    :math:`R` the row sums of :math:`A`. With mutual positives, one a node, this is
    :math:`-c \, (A - \tfrac12 (P + P^\top)) Z` with :math:`c = 2 / (n \tau)`: a graph convolution minus
    self-attention. The value and the gradient are computed together by streaming; ``backward`` only hands it over.

    Between two sets of nodes (two encoders, two modalities, a bank) it is InfoNCE: the anchors i are rows of the first
    and are told apart from all rows k of the second, the positive included,

    .. math::
        L = -\frac{1}{\sum a} \sum_{i \to j} a_{ij}
            \log \frac{e^{u_i \cdot v_j / \tau}}{\sum_k e^{u_i \cdot v_k / \tau}},
        \qquad
        \frac{\partial L}{\partial U} = -\frac{(A - RP) V}{\tau \sum a}, \quad
        \frac{\partial L}{\partial V} = -\frac{(A - RP)^\top U}{\tau \sum a} .

    The mean of it and of its reverse, ``nt_xent((v, u), edge_index.flip(0))``, is CLIP's loss.

    Args:
        x: features ``(n, d)`` of any length, or a pair ``((n_u, d), (n_v, d))``, both trained unless detached; half
            precision is computed in float32.
        edge_index: positive pairs ``(2, E)``: row 0 the anchors i, row 1 their positives j. Any order; several a node.
        temperature: :math:`\tau > 0`.
        edge_weight: non-negative weights ``(E,)``; constants (no gradient flows to them).
        batch: graph of each node ``(n,)``: only nodes of the same graph are negatives, and positives are in the same
            graph. Not with a pair.
        chunk: similarities are made ``chunk`` × ``chunk`` at a time, for a pair ``chunk`` anchors at a time; by the
            device if not given (a few MB on a CPU).

    Returns:
        a scalar; equals ``lightly.loss.NTXentLoss`` on the same pairs. Differentiable once.

    Raises:
        ValueError: on an empty ``edge_index``, a temperature that is not positive, a wrong shape or type, ``batch``
            with a pair, and (found on a CPU) an end that is no node or a positive in another graph of ``batch``.
    """
    _positive("nt_xent", temperature=temperature, chunk=chunk)
    if isinstance(x, tuple):
        first, second = (F.normalize(part, dim=1) for part in _pair("nt_xent", x, batch))
        return _info_nce(first, second, edge_index, temperature, edge_weight, chunk)
    z = _unit("nt_xent", x)
    graph = Adjacency(edge_index, _edges("nt_xent", edge_index, edge_weight, z), z.size(0)).transpose()
    share = graph.row_sum.to(z.dtype)
    total = share.sum().clamp(min=torch.finfo(z.dtype).tiny)
    check_batch(batch, z.size(0))
    _check_same_graph(batch, graph.edge_index)

    def term(z: Tensor) -> tuple[Tensor, Tensor]:
        lse, repelled = softmax_all_pairs(z, temperature, share, batch, unit=True, tile=chunk)
        pulled = graph.matmul(z)
        # A node that is alone has no partition function: it has no negatives.
        partition = share * lse if batch is None else (share * lse).masked_fill(lse == -math.inf, 0)
        value = partition.sum() - torch.dot(z.view(-1), pulled.view(-1)) / temperature
        message = (pulled + graph.t_matmul(z)).sub_(repelled).div_(temperature * total)
        return value / total, message

    return objective(z, term)


def _info_nce(
    anchor: Tensor,
    positive: Tensor,
    edge_index: Tensor,
    temperature: float,
    edge_weight: Tensor | None,
    chunk: int | None,
) -> Tensor:
    sizes = (anchor.size(0), positive.size(0))
    graph = Adjacency(edge_index, _edges("nt_xent", edge_index, edge_weight, anchor), sizes).transpose()
    share = graph.row_sum.to(anchor.dtype)
    total = share.sum().clamp(min=torch.finfo(anchor.dtype).tiny)

    def term(both: Tensor) -> tuple[Tensor, Tensor]:
        query, key = both.split(sizes)
        lse, to_query, to_key = softmax_bipartite(query, key, temperature, share, chunk=chunk)
        pulled = graph.matmul(key)
        value = (share * lse).sum() - (query * pulled).sum() / temperature
        message = torch.cat([pulled - to_query, graph.t_matmul(query) - to_key]) / temperature
        return value / total, message / total

    return objective(torch.cat([anchor, positive]), term)


def alignment_loss(
    x: Features,
    edge_index: Tensor,
    alpha: float = 2,
    edge_weight: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Alignment of positive pairs, from `"Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere" <https://arxiv.org/abs/2005.10242>`_.

    .. math::
        L = \frac{1}{\sum a} \sum_{i \to j} a_{ij} \lVert z_i - z_j \rVert^\alpha, \qquad
        -\frac{\partial L}{\partial z_i} = \frac{\alpha}{\sum a} \sum_{i \to j,\, j \to i}
            a_{ij} \lVert z_i - z_j \rVert^{\alpha - 2} (z_j - z_i),

    :math:`z_i = x_i / \lVert x_i \rVert`: a message along every edge, and back. For :math:`\alpha = 2` it is the
    Dirichlet energy of the graph, whose gradient step :class:`~cl_as_gnn.nn.AlignmentConv` makes. Pairs that have met
    send nothing.

    Args:
        x: features ``(n, d)`` of any length, or a pair ``((n_u, d), (n_v, d))``; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``, in any order; several a node.
        alpha: :math:`\alpha > 0`.
        edge_weight: non-negative weights ``(E,)``; constants.
        chunk: edges visited at a time.

    Returns:
        a scalar. Differentiable once.
    """
    _positive("alignment_loss", alpha=alpha, chunk=chunk)
    sets = _pair("alignment_loss", x, None) if isinstance(x, tuple) else (x,)
    z = _unit("alignment_loss", torch.cat(sets) if len(sets) > 1 else sets[0])
    weight = _edges("alignment_loss", edge_index, edge_weight, z)
    check_range(edge_index, (sets[0].size(0), sets[-1].size(0)))
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

    :math:`z_i = x_i / \lVert x_i \rVert` and :math:`\mathcal{N}` the pairs of different nodes (of the same graph,
    where ``batch`` is given): repelling messages along the complete graph, normalized over all of it and not row by
    row. Streamed in one pass. Of a pair of feature matrices, :math:`\mathcal{N}` are all pairs of a row of the first
    with a row of the second.

    Args:
        x: features ``(n, d)`` of any length, two nodes or more, or a pair ``((n_u, d), (n_v, d))``; half precision is
            computed in float32.
        t: :math:`t > 0`.
        batch: graph of each node ``(n,)``; some graph has two nodes or more. Not with a pair.
        chunk: rows visited at a time.

    Returns:
        a scalar, at least :math:`-4t`. Differentiable once.
    """
    _positive("uniformity_loss", t=t, chunk=chunk)
    if isinstance(x, tuple):
        first, second = _pair("uniformity_loss", x, batch)
        sizes = (first.size(0), second.size(0))

        def between(z: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(z.device.type, enabled=False):
                query, key = z.split(sizes)
                value, to_query, to_key = gaussian_pairs(query, key, t, chunk=chunk)
            return value - math.log(sizes[0] * sizes[1]), torch.cat([to_query, to_key]) * (2 * t)

        return objective(_unit("uniformity_loss", torch.cat([first, second])), between)
    z = _unit("uniformity_loss", x)
    check_batch(batch, z.size(0))
    if not (z.size(0) > 1 if batch is None else (torch.bincount(batch) > 1).any()):
        raise ValueError(f"uniformity_loss expects two nodes or more in some graph, got {z.size(0)} nodes, each alone")
    return objective(z, GaussianRepulsion(t, batch=batch, chunk=chunk))


def spectral_contrastive_loss(
    x: Features,
    edge_index: Tensor,
    mu: float = 1.0,
    edge_weight: Tensor | None = None,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Spectral contrastive loss, from `"Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss" <https://arxiv.org/abs/2106.04156>`_, in :math:`O(n d^2)`.

    .. math::
        L = \frac1\mu \Big[ -\frac{2}{\sum a} \sum_{i \to j} a_{ij} \, z_i \cdot z_j
            + \frac{1}{|\mathcal{N}|} \sum_{(i, j) \in \mathcal{N}} (z_i \cdot z_j)^2 \Big], \qquad
        -\frac{\partial L}{\partial Z} = \frac2\mu \Big[ \frac{A + A^\top}{\sum a} Z
            - \frac{2}{|\mathcal{N}|} (ZZ^\top - \mathrm{diag}) Z \Big],

    :math:`\mathcal{N}` the pairs of different nodes (of the same graph, where ``batch`` is given; the authors' code
    takes pairs of different samples in different views). The sum of squares is
    :math:`\lVert Z^\top Z \rVert_F^2 - \sum_i \lVert z_i \rVert^4`: the repulsion is linear attention. Rows
    longer than :math:`\sqrt\mu` are cut to that length, shorter ones are kept, as in the authors' code. Of a pair of
    feature matrices, :math:`\mathcal{N}` are all pairs of a row of the first with a row of the second.

    Args:
        x: features ``(n, d)``, or a pair ``((n_u, d), (n_v, d))``; half precision is computed in float32.
        edge_index: positive pairs ``(2, E)``, in any order; several a node.
        mu: :math:`\mu > 0`, 1 on CIFAR-10 and 10 on ImageNet.
        edge_weight: non-negative weights ``(E,)``; constants.
        batch: graph of each node ``(n,)``. Not with a pair.

    Returns:
        a scalar, differentiable any number of times.
    """
    _positive("spectral_contrastive_loss", mu=mu)
    name = "spectral_contrastive_loss"
    sets = _pair(name, x, batch) if isinstance(x, tuple) else (_features(name, x),)
    weight = _edges(name, edge_index, edge_weight, sets[0])
    with torch.autocast(sets[0].device.type, enabled=False):
        sets = tuple(z * (math.sqrt(mu) / z.norm(dim=1, keepdim=True).clamp(min=math.sqrt(mu))) for z in sets)
        anchor, key = sets[0], sets[-1]
        graph = Adjacency(edge_index, weight, (anchor.size(0), key.size(0))).transpose()
        attraction = (anchor * graph.matmul(key)).sum() / graph.row_sum.sum().to(key.dtype)
        if len(sets) > 1:
            squares, pairs = ((anchor.t() @ anchor) * (key.t() @ key)).sum(), anchor.size(0) * key.size(0)
            return (-2 * attraction + squares / max(pairs, 1)) / mu
        own = key.square().sum(1).square().sum()
        if batch is None:
            size, squares = key.new_full((1,), key.size(0)), (key.t() @ key).square().sum()
        else:
            size = scatter(torch.ones_like(batch), batch, reduce="sum")
            squares = (key * linear_attention(key, key, key, batch)).sum()
        count = (size * (size - 1)).sum()
        loss: Tensor = (-2 * attraction + (squares - own) / count.to(key.dtype).clamp(min=1)) / mu
        return loss
