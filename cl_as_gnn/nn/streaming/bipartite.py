from __future__ import annotations

import math

import torch
from torch import Tensor

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
        dtype = query.dtype if query.dtype in (torch.float32, torch.float64) else torch.float32
        query, key = query.detach().to(dtype), key.detach().to(dtype)
        weight = query.new_ones(query.size(0)) if row_weight is None else row_weight.detach().to(dtype)
        if query.size(0) and key.size(0) and fused.fused(query, tile=chunk):
            return fused.bipartite(query, key, temperature, weight)
        lse = query.new_full((query.size(0),), -math.inf)
        to_query, to_key = torch.zeros_like(query), torch.zeros_like(key)
        for rows, _ in strips((query.size(0), key.size(0)), query, chunk):
            logits = (query[rows] / temperature) @ key.t()
            lse[rows] = logits.logsumexp(1)
            share = logits.sub_(lse[rows].unsqueeze(1)).exp_().mul_(weight[rows].unsqueeze(1))
            to_query[rows] = share @ key
            to_key.addmm_(share.t(), query[rows])
    return lse, to_query, to_key
