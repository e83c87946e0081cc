from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.distributed import gather_rows, total
from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.streaming import fused
from cl_as_gnn.nn.streaming.tiles import strips


def softmax_bipartite(
    query: Tensor, key: Tensor, temperature: float = 1.0, row_weight: Tensor | None = None, *, chunk: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Compute the log-partition of each query over all keys, and the messages that its gradient sends.

    .. math::
        \ell_i = \log \sum_j e^{q_i \cdot k_j / \tau}, \qquad P_{ij} = e^{q_i \cdot k_j / \tau - \ell_i}.

    Args:
        query: ``(n, d)``.
        key: ``(m, d)``.
        temperature: :math:`\tau`.
        row_weight: :math:`\rho`, ``(n,)``; ones by default.
        chunk: number of queries per strip; by the memory of the device by default.

    Returns:
        :math:`\ell` ``(n,)``, the message to the queries :math:`RPK` ``(n, d)`` and the message to the keys
        :math:`P^\top R Q` ``(m, d)``, with :math:`R = \mathrm{diag}(\rho)`. The gradient of
        :math:`\sum_i \rho_i \ell_i` is ``message / temperature``. Autograd records nothing.
    """
    with torch.no_grad(), torch.autocast(query.device.type, enabled=False), exact_products(query.device):
        query, key = _wide(query, key)
        weight = query.new_ones(query.size(0)) if row_weight is None else row_weight.detach().to(query.dtype)
        if query.size(0) and key.size(0) and fused.fused(query, tile=chunk):
            return fused.bipartite(query, key, temperature, weight)
        to_key = torch.zeros_like(key)
        lse, to_query = _visit(query, key, temperature, chunk, weight, to_key)
    return lse, to_query, to_key


def softmax_over_keys(
    query: Tensor, key: Tensor, temperature: float = 1.0, *, chunk: int | None = None, shared: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Compute the first two results of :func:`softmax_bipartite`: keys that are fixed need no message.

    .. math::
        \ell_i = \log \sum_j e^{q_i \cdot k_j / \tau} = \log \sum_r e^{\ell^{(r)}_i}, \qquad
        m_i = \sum_j P_{ij} k_j = \sum_r e^{\ell^{(r)}_i - \ell_i} \, m^{(r)}_i,

    :math:`\ell^{(r)}` and :math:`m^{(r)}` those of the keys that rank r holds, if the ranks share the keys. A rank
    of R then does :math:`4 n m d` flops for its m keys, and exchanges n numbers and n rows.

    Args:
        query: ``(n, d)``, the same on every rank.
        key: ``(m, d)``, of this rank where they are shared; some ranks may then have none.
        temperature: :math:`\tau`.
        chunk: number of queries per strip; by the memory of the device by default.
        shared: each rank holds other keys, and the softmax is over those of all.

    Returns:
        :math:`\ell` ``(n,)`` and the message to the queries :math:`PK` ``(n, d)``. Autograd records nothing.
    """
    with torch.no_grad(), torch.autocast(query.device.type, enabled=False), exact_products(query.device):
        query, key = _wide(query, key)
        if query.size(0) and key.size(0) and fused.fused(query, tile=chunk):
            own, message = fused.over_keys(query, key, temperature)
        else:
            own, message = _visit(query, key, temperature, chunk)
        if not shared:
            return own, message
        lse = gather_rows(own.unsqueeze(0)).logsumexp(0)
        return lse, total(message.mul_((own - lse).exp_().unsqueeze(1)))


def _wide(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    dtype = query.dtype if query.dtype in (torch.float32, torch.float64) else torch.float32
    return query.detach().to(dtype), key.detach().to(dtype)


def _visit(
    query: Tensor,
    key: Tensor,
    temperature: float,
    chunk: int | None,
    weight: Tensor | None = None,
    to_key: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The log-partition of each query and the message to it; the message to the keys is added to ``to_key``."""
    lse, to_query = query.new_full((query.size(0),), -math.inf), torch.zeros_like(query)
    for rows, _ in strips((query.size(0), key.size(0)), query, chunk):
        logits = (query[rows] / temperature) @ key.t()
        lse[rows] = logits.logsumexp(1)
        share = logits.sub_(lse[rows].unsqueeze(1)).exp_()
        if weight is not None:
            share.mul_(weight[rows].unsqueeze(1))
        to_query[rows] = share @ key
        if to_key is not None:
            to_key.addmm_(share.t(), query[rows])
    return lse, to_query
