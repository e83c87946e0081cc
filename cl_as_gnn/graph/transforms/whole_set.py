"""The affinity graph of a whole training set, and its restriction to a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from cl_as_gnn.graph.memory import SampleBank
from cl_as_gnn.nn.checks import check_count, check_integers, check_positive, check_within, expects
from cl_as_gnn.nn.operators import Adjacency


@torch.no_grad()
def bank_walk(bank: SampleBank, k: int, temperature: float, lists_above: int | None = None) -> Tensor | None:
    r"""Random walk over the kNN graph of all samples that a bank holds.

    .. math::
        W_{ij} = \frac{e^{\cos(m_i, m_j) / T}}{\sum_{l \in \mathrm{kNN}(i)} e^{\cos(m_i, m_l) / T}} .

    Args:
        bank: its latest stage is used. Of a bank that ranks share every rank builds the same walk, at the same time.
        k: neighbors per sample, at most all others.
        temperature: T of the row softmax.
        lists_above: more samples than that look for their neighbors by inverted lists, on a CPU; ``None``: never.

    Returns:
        Sparse ``(N, N)``, rows of samples not seen yet empty; ``None`` while fewer than two have been seen.
    """
    if not isinstance(bank, SampleBank):
        raise expects("bank_walk", "bank", "as a SampleBank", bank)
    check_count("bank_walk", k=k)
    check_positive("bank_walk", temperature=temperature)
    known = bank.seen[0].nonzero().squeeze(1)
    if known.numel() < 2:
        return None
    k = min(k, known.numel() - 1)
    similarity, near = bank.nearest(known, k, lists_above)
    weight = (similarity / temperature).softmax(1).flatten()
    edges = torch.stack([near.flatten(), known.repeat_interleave(k)])
    return Adjacency(edges, weight, bank.seen.size(1)).to_sparse()


@torch.no_grad()
def restricted_diffusion(walk: Tensor, num_hops: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
    r"""Edges between some nodes, from walks of several hops over a larger graph.

    .. math::
        T_S = N \left( (W^L)_{SS} - \mathrm{diag} (W^L)_{SS} \right),

    :math:`N` renormalizing the rows. On a CPU the walks start at both ends and reach :math:`O(B k^{L/2})` nodes instead
    of all. On a GPU all walks are computed, in a matrix ``(N, B)``: the host does not wait for a number of edges.

    Args:
        walk: :math:`W`, sparse ``(N, N)`` and coalesced, row i the neighbors from which node i receives.
        num_hops: L.
        nodes: S, ``(B,)``, all different.

    Returns:
        ``edge_index`` ``(2, E)`` over positions in ``nodes``, row 0 the sources, and ``edge_weight`` ``(E,)`` summing
        to one per target. A node without a walk to another node of S has no edge (on a GPU, where all B² pairs are
        edges, only edges of weight 0).

    Raises:
        ValueError: for arguments of another kind, and (detected on a CPU only) a node that ``walk`` lacks.
    """
    if not isinstance(walk, Tensor) or walk.layout != torch.sparse_coo or not walk.is_floating_point():
        raise expects("restricted_diffusion", "walk", "as a sparse COO matrix of floating-point numbers", walk)
    check_count("restricted_diffusion", num_hops=num_hops)
    check_integers("restricted_diffusion", nodes, key="nodes", what="all different")
    check_within("restricted_diffusion", "nodes", nodes, walk.size(0), "nodes")
    follow = _follow_all if nodes.is_cuda else _follow_from_both_ends
    source, target, weight = follow(walk, num_hops, nodes)
    total = scatter(weight, target, dim_size=nodes.numel(), reduce="sum")
    return torch.stack([source, target]), torch.where(weight > 0, weight / total[target], 0)


def _follow_all(walk: Tensor, num_hops: int, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and weight of every pair of ``nodes``."""
    count = nodes.numel()
    place = torch.arange(count, device=nodes.device)
    graph = Adjacency(walk.indices().flip(0), walk.values(), walk.size(0))
    arrived = torch.zeros(walk.size(0), count, device=nodes.device, dtype=walk.dtype)
    arrived[nodes, place] = 1.0
    for _ in range(num_hops):
        arrived = graph.matmul(arrived)
    return place.repeat(count), place.repeat_interleave(count), arrived[nodes].fill_diagonal_(0).flatten()


def _follow_from_both_ends(walk: Tensor, num_hops: int, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and weight of the pairs of ``nodes`` that a walk joins."""
    count = nodes.numel()
    place = torch.arange(count, device=nodes.device)
    left = torch.sparse_coo_tensor(
        torch.stack([place, nodes]), torch.ones(count, dtype=walk.dtype), (count, walk.size(0)), check_invariants=False
    )
    right = left.t()
    with torch.autocast(nodes.device.type, enabled=False):
        for hop in range(num_hops):
            if hop % 2:
                right = torch.sparse.mm(walk, right)
            else:
                left = torch.sparse.mm(left, walk)
        power = torch.sparse.mm(left, right).coalesce()
    target, source = power.indices()
    apart = target != source
    return source[apart], target[apart], power.values()[apart]
