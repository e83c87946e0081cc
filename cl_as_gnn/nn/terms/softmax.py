from __future__ import annotations

import math
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import LocalRows
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import (
    contrast_all_pairs,
    softmax_all_pairs,
    softmax_bipartite,
    softmax_local_rows,
    softmax_over_keys,
)
from cl_as_gnn.nn.terms.base import Term, ends, total_weight


class SoftmaxRepulsion(Term):
    r"""Repulsion along the complete affinity graph, the partition function of every softmax loss.

    .. math::
        L = \frac{1}{W} \sum_i \rho_i \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{W \tau} (RP + P^\top R) X,

    with :math:`R = \mathrm{diag}(\rho)`, :math:`W = \sum_i \rho_i` and :math:`P` the row softmax without self-loops.
    With :math:`\rho` the row sums of the attraction, the two together are the cross-entropy of InfoNCE.

    Args:
        temperature: :math:`\tau`.
        row_weight: :math:`\rho` ``(n,)``; all ones by default.
        unit: the rows have unit length.
        batch: graph of each node ``(n,)``; nodes of different graphs do not repel each other.
        total: :math:`W`, a scalar, if several terms share one; by default the sum of :math:`\rho`.
        tile: side of the tiles, see :func:`~cl_as_gnn.nn.streaming.softmax_all_pairs`.
        own: rows of this rank, if ``x`` was gathered from several; the message to all other rows is zero.

    Under autocast to bfloat16 the products run in bfloat16.
    """

    autocast: ClassVar[bool] = True

    def __init__(
        self,
        temperature: float,
        row_weight: Tensor | None = None,
        *,
        unit: bool = True,
        batch: Tensor | None = None,
        total: Tensor | None = None,
        tile: int | None = None,
        own: LocalRows | None = None,
    ):
        if batch is not None and own is not None:
            raise ValueError("SoftmaxRepulsion expects batch or own, not both: pass batch=None or own=None")
        self.temperature, self.row_weight, self.unit = temperature, row_weight, unit
        self.batch, self.total, self.tile, self.own = batch, total, tile, own

    def _pairs(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.own is None:
            return softmax_all_pairs(x, self.temperature, weight, self.batch, unit=self.unit, tile=self.tile)
        index = self.own.index(x.size(0), x.device)
        lse, repelled = softmax_local_rows(x, index, self.own.join, self.temperature, weight, unit=self.unit)
        return lse, torch.zeros_like(x).index_copy_(0, index, repelled.to(x.dtype))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight = x.new_ones(x.size(0)) if self.row_weight is None else self.row_weight.to(x.dtype)
        lse, repelled = self._pairs(x, weight)
        total = total_weight(weight) if self.total is None else self.total
        partition = weight * lse
        if self.batch is not None or x.size(0) < 2:
            # A node that is alone in its graph has no negatives and no partition function.
            partition = partition.masked_fill(lse == -math.inf, 0)
        return partition.sum() / total, repelled.div_(-self.temperature * total)


class EdgeContrast(Term):
    r"""NT-Xent along few edges: attraction and the softmax that repels, in one pass over all pairs.

    .. math::
        L = -\frac1W \sum_{j \to i} a_{ij}
            \log \frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \neq i} e^{x_i \cdot x_k / \tau}}, \qquad
        \text{message} = \frac{1}{W \tau} \big( A + A^\top - RP - P^\top R \big) X,

    R the row sums of A, W their sum, P the row softmax without self-loops. It is the sum of
    :class:`~cl_as_gnn.nn.terms.Attraction` and :class:`SoftmaxRepulsion`, but for rounding: where the softmax has
    nearly converged on the positives the two cancel, and here their difference is computed from what is left.

    Args:
        edge_index: ``(2, E)``, row 0 the sources j, row 1 the anchors i; a few for each node.
        temperature: :math:`\tau`.
        edge_weight: a, ``(E,)``; ones by default.
        batch: graph of each node ``(n,)``; nodes of different graphs do not repel each other.
        tile: side of the tiles, see :func:`~cl_as_gnn.nn.streaming.softmax_all_pairs`.
    """

    def __init__(
        self,
        edge_index: Tensor,
        temperature: float,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        tile: int | None = None,
    ):
        self.edge_index, self.temperature, self.edge_weight = edge_index, temperature, edge_weight
        self.batch, self.tile = batch, tile

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        edges, width = self.edge_index, x.size(1)
        x = x if width else x.new_zeros(x.size(0), 1)  # rows without channels are all alike
        weight = x.new_ones(edges.size(1)) if self.edge_weight is None else self.edge_weight.to(x.dtype)
        log_share, slope, repelled = contrast_all_pairs(x, edges, weight, self.temperature, self.batch, self.tile)
        graph, total = Adjacency(edges, slope, x.size(0)), total_weight(weight)
        message = graph.matmul(x) + graph.t_matmul(x) - repelled
        return (weight * -log_share).sum() / total, message.div_(self.temperature * total)[:, :width]


class BipartiteRepulsion(Term):
    r"""Repulsion of the targets from a set of sources, along the row softmax of their similarity.

    .. math::
        L = \frac1W \sum_i \rho_i \log \sum_j e^{x_i \cdot y_j / \tau}, \qquad
        \text{message to } X = -\frac{1}{W \tau} R P Y, \quad
        \text{message to } Y = -\frac{1}{W \tau} P^\top R X,

    with :math:`R = \mathrm{diag}(\rho)` and :math:`W = \sum_i \rho_i`.

    Args:
        source: fixed features :math:`Y` ``(m, d)``, which get no message (a queue); or the number m of sources, the
            first m rows of ``x``, with the targets after them.
        temperature: :math:`\tau`.
        row_weight: :math:`\rho`, one for each target; all ones by default.
        chunk: number of targets per strip; by the memory of the device by default.
        shared: each rank holds other fixed sources, and the softmax is over those of all.
    """

    def __init__(
        self,
        source: Tensor | int,
        temperature: float,
        row_weight: Tensor | None = None,
        chunk: int | None = None,
        shared: bool = False,
    ):
        self.source, self.temperature, self.row_weight = source, temperature, row_weight
        self.chunk, self.shared = chunk, shared

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source, target = ends(x, self.source)
        weight = None if self.row_weight is None else self.row_weight.to(x.dtype)
        if isinstance(self.source, Tensor):
            lse, repelled = softmax_over_keys(target, source, self.temperature, chunk=self.chunk, shared=self.shared)
            repelled = repelled if weight is None else repelled.mul_(weight.unsqueeze(1))
        else:
            lse, *both = softmax_bipartite(target, source, self.temperature, weight, chunk=self.chunk)
            repelled = torch.cat(both[::-1])
        total = target.size(0) if weight is None else total_weight(weight)
        value = lse.mean() if weight is None else (weight * lse).sum() / total
        return value, repelled.div_(-self.temperature * total)


class KeyContrast(Term):
    r"""`MoCo v3 <https://arxiv.org/abs/2104.02057>`_: the softmax of each node over the fixed keys of another view.

    .. math::
        L = -\frac{w}{V (V - 1) B} \sum_{a \neq b} \sum_i
            \log \frac{e^{x^a_i \cdot k^b_i / \tau}}{\sum_j e^{x^a_i \cdot k^b_j / \tau}}, \qquad
        m^a_i \propto \sum_b \Big( k^b_i - \sum_j P^{ab}_{ij} \, k^b_j \Big),

    :math:`P^{ab}` the row softmax of the nodes of view a over the keys of view b. Only the nodes get messages.

    Args:
        key: K, ``(n, d)``, view-major like the nodes; they get no message.
        temperature: :math:`\tau`.
        num_views: V.
        weight: w.
    """

    over_nodes: ClassVar[bool] = False
    """Whether the fixed rows choose among the nodes, instead of the nodes among them."""

    def __init__(self, key: Tensor, temperature: float, num_views: int, weight: float = 1.0):
        self.key, self.temperature, self.num_views, self.weight = key, temperature, num_views, weight

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        nodes, keys = x.chunk(self.num_views), self.key.detach().to(x.dtype).chunk(self.num_views)
        value, parts = x.new_zeros(()), [torch.zeros_like(part) for part in nodes]
        for (a, node), (b, key) in product(enumerate(nodes), enumerate(keys)):
            if a != b:
                if self.over_nodes:
                    lse, _, repelled = softmax_bipartite(key, node, self.temperature)
                else:
                    lse, repelled = softmax_over_keys(node, key, self.temperature)
                value += lse.sum() - (node * key).sum() / self.temperature
                parts[a] += key - repelled
        count = x.size(0) * (self.num_views - 1) / self.weight
        return value / count, torch.cat(parts) / (self.temperature * count)


class AnchorContrast(KeyContrast):
    r"""`NNCLR <https://arxiv.org/abs/2104.14548>`_: the softmax of each fixed anchor over the nodes of another view.

    .. math::
        L = -\frac{1}{V (V - 1) B} \sum_{a \neq b} \sum_i
            \log \frac{e^{y^a_i \cdot x^b_i / \tau}}{\sum_k e^{y^a_i \cdot x^b_k / \tau}}, \qquad
        m^b_k \propto \sum_a \Big( y^a_k - \sum_i P^{ab}_{ik} \, y^a_i \Big),

    :math:`P^{ab}` the row softmax of the anchors of view a over the nodes of view b. Only the nodes get messages:
    :class:`KeyContrast` with nodes and fixed rows in each other's place.

    Args:
        anchor: :math:`Y`, ``(n, d)``, view-major like the nodes.
        temperature: :math:`\tau`.
        num_views: V.
    """

    over_nodes = True

    def __init__(self, anchor: Tensor, temperature: float, num_views: int):
        super().__init__(anchor, temperature, num_views)


class CrossViewRepulsion(Term):
    r"""Repulsion between the nodes of different views: the affinity graph is complete between views, empty within them.

    .. math::
        L = \frac{1}{n (V - 1)} \sum_{a \neq b} \sum_i \log \sum_k e^{x^a_i \cdot x^b_k / \tau}, \qquad
        m^a = -\frac{1}{n (V - 1) \tau} \sum_{b \neq a} \big( P^{ab} + (P^{ba})^\top \big) x^b,

    :math:`P^{ab}` the row softmax of the nodes of view a over those of view b. With the attraction of two views of a
    sample it is InfoNCE across views, the loss of `CMC <https://arxiv.org/abs/1906.05849>`_ and of CLIP. Messages flow
    both ways along every pair of nodes of different views.

    Args:
        temperature: :math:`\tau`.
        num_views: V; nodes are view-major.
        chunk: number of nodes per strip; by the memory of the device by default.
    """

    def __init__(self, temperature: float, num_views: int = 2, chunk: int | None = None):
        self.temperature, self.num_views, self.chunk = temperature, num_views, chunk

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        views = x.chunk(self.num_views)
        value, repelled = x.new_zeros(()), [torch.zeros_like(view) for view in views]
        for a, anchor in enumerate(views):
            for b, other in enumerate(views):
                if a != b:
                    lse, forth, back = softmax_bipartite(anchor, other, self.temperature, chunk=self.chunk)
                    value += lse.sum()
                    repelled[a] += forth
                    repelled[b] += back
        count = x.size(0) * (self.num_views - 1)
        return value / count, torch.cat(repelled).div_(-self.temperature * count)


class QueueContrast(Term):
    r"""`MoCo <https://arxiv.org/abs/1911.05722>`_: a key attracts and a queue of keys repels, along one-way edges.

    .. math::
        L = -\frac1n \sum_i
            \log \frac{e^{x_i \cdot k_i / \tau}}{e^{x_i \cdot k_i / \tau} + \sum_q e^{x_i \cdot q / \tau}}, \qquad
        m_i = \frac{1 - p_i}{n \tau} \Big( k_i - \sum_q P_{iq} \, q \Big),

    :math:`p_i` the share of the key, :math:`P` the row softmax over the queue; the mean over the keys of a node.

    Args:
        key: keys of each node, ``(k, n, d)``; they get no message.
        queue: ``(K, d)``.
        temperature: :math:`\tau`.
        shared: each rank holds other rows of the queue, and the softmax is over those of all.
    """

    def __init__(self, key: Tensor, queue: Tensor, temperature: float, shared: bool = False):
        self.key, self.queue, self.temperature, self.shared = key, queue, temperature, shared

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        key, scale = self.key.detach().to(x.dtype), 1 / self.temperature
        lse, repelled = softmax_over_keys(x, self.queue, self.temperature, shared=self.shared)
        logits = (x * key).sum(2) * scale
        total = torch.logaddexp(logits, lse)
        rest = (lse - total).exp().unsqueeze(2)
        return (total - logits).mean(), (rest * (key - repelled)).sum(0) * (scale / logits.numel())
