from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.streaming import fused
from cl_as_gnn.nn.streaming.all_pairs import SAFE_LOGIT, products_in_bf16
from cl_as_gnn.nn.streaming.tiles import squares

# Largest 1/τ at which e^(−2/τ), the smallest term between unit rows, is a normal float32.
_SAFE_LOGIT = 40.0


def softmax_local_rows(
    x: Tensor,
    own: Tensor,
    join: Callable[[Tensor], Tensor],
    temperature: float = 1.0,
    row_weight: Tensor | None = None,
    *,
    unit: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Compute the rows of this rank of :func:`~cl_as_gnn.nn.streaming.softmax_all_pairs`.

    .. math::
        \ell_i = \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        m_i = \sum_{j \neq i} e^{x_i \cdot x_j / \tau} \big( \rho_i e^{-\ell_i} + \rho_j e^{-\ell_j} \big) \, x_j
        \quad (i \text{ own}).

    Of the rows of other ranks a rank needs only :math:`\ell`, n numbers. A rank of R does :math:`6 n^2 d / R` flops,
    two visits of its logits and one product; a single process does :math:`4 n^2 d` on half of the symmetric matrix.

    Args:
        x: features of all nodes, ``(n, d)``, float32 or float64 (half precision is promoted to float32).
        own: indices of the rows of this rank, ``(m,)``.
        join: maps :math:`\ell` of the own rows ``(m,)`` to that of all rows ``(n,)``, in the order of ``x``.
        temperature: :math:`\tau > 0`.
        row_weight: :math:`\rho`, ``(n,)``; ones by default.
        unit: the rows have unit length.

    Returns:
        :math:`\ell` ``(n,)`` and the messages to the own rows ``(m, d)``. Autograd records nothing. Under autocast
        products run in float32 (float64) in tiles, and in bfloat16 in the kernels of a GPU, as those of all pairs.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    bf16 = unit and products_in_bf16(x, temperature)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False), exact_products(x.device):
        weight = x.new_ones(x.size(0)) if row_weight is None else row_weight.detach().to(x.dtype)
        if own.numel() and fused.fused(x, bf16):
            plain = unit and 1 / temperature <= SAFE_LOGIT[x.dtype]
            return fused.local_rows(x.contiguous(), own, join, temperature, weight, unit, plain, bf16)
        return _local_rows(x, own, join, temperature, weight, unit and 1 / temperature <= _SAFE_LOGIT)


def _local_rows(
    x: Tensor, own: Tensor, join: Callable[[Tensor], Tensor], temperature: float, weight: Tensor, plain: bool
) -> tuple[Tensor, Tensor]:
    """``plain`` exponentials need no shift by the log-partition of their row."""
    tiles = squares((own.numel(), x.size(0)), x.device, x.dtype)
    query, node = x[own] / temperature, torch.arange(x.size(0), device=x.device)
    shift, fill = (1 / temperature, 0.0) if plain else (0.0, -math.inf)

    def scores(rows: slice, columns: slice) -> Tensor:
        tile = query[rows] @ x[columns].t()
        if plain:
            tile.sub_(shift).exp_()
        return tile.masked_fill_(own[rows].unsqueeze(1) == node[columns], fill)

    total = x.new_full((own.numel(),), fill)
    for rows, columns in tiles:
        tile = scores(rows, columns)
        total[rows] = total[rows] + tile.sum(1) if plain else torch.logaddexp(total[rows], tile.logsumexp(1))
    lse = join(total.log() + shift if plain else total)
    finite = lse.masked_fill(lse == -math.inf, 0)
    share = torch.where(lse == -math.inf, 0, weight * (shift - finite).exp()) if plain else weight
    message = x.new_zeros(own.numel(), x.size(1))
    for rows, columns in tiles:
        tile, at = scores(rows, columns), own[rows]
        if plain:
            tile.mul_(share[at].unsqueeze(1) + share[columns])
        else:
            back = (tile - finite[columns]).exp_().mul_(weight[columns])
            tile.sub_(finite[at].unsqueeze(1)).exp_().mul_(weight[at].unsqueeze(1)).add_(back)
        message[rows].addmm_(tile, x[columns])
    return lse, message
