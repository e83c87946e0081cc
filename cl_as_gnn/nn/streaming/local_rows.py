r"""Softmax over all pairs of nodes, computed for some of its rows: one rank's share of the complete graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Largest 1/τ at which e^(−2/τ), the smallest term between unit rows, is a normal float32.
_SAFE_LOGIT = 40.0
_TILE = {"cpu": 512, "cuda": 8192}


def softmax_local_rows(
    x: Tensor,
    own: Tensor,
    join: Callable[[Tensor], Tensor],
    temperature: float = 1.0,
    row_weight: Tensor | None = None,
    *,
    unit: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""What :func:`~cl_as_gnn.nn.streaming.all_pairs.softmax_all_pairs` gives, its message for this rank's rows alone.

    .. math::
        \ell_i = \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        m_i = \sum_j e^{x_i \cdot x_j / \tau} \big( \rho_i e^{-\ell_i} + \rho_j e^{-\ell_j} \big) \, x_j
        \quad (i \text{ own}),

    so that of the other ranks' rows nothing is wanted but :math:`\ell`, n numbers, and a rank does
    :math:`6 n^2 d / R` flops: two visits of its rows' logits and one product. (A single process does
    :math:`4 n^2 d`, since it visits only half of the symmetric matrix.)

    Args:
        x: features of all nodes, ``(n, d)``, float32 or float64 (half precision is promoted to float32).
        own: indices of the rows to compute, ``(m,)``.
        join: makes of the own rows' :math:`\ell` ``(m,)`` that of all rows ``(n,)``, in the order of ``x``.
        temperature: :math:`\tau > 0`.
        row_weight: :math:`\rho`, ``(n,)``; all ones if not given.
        unit: the rows have unit length.

    Returns:
        :math:`\ell` ``(n,)`` and :math:`m` ``(m, d)``. Nothing is recorded for autograd, no ``m × n`` tensor is kept.
        Products run in float32 (float64) also under autocast.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach() if x.dtype == torch.float64 else x.detach().float()
        weight = x.new_ones(x.size(0)) if row_weight is None else row_weight.detach().to(x.dtype)
        size = _TILE.get(x.device.type, 512)
        keys, columns = x.split(size), torch.arange(x.size(0), device=x.device).split(size)
        rows = own.split(size)
        blocks = [x[r] / temperature for r in rows]
        plain = unit and 1 / temperature <= _SAFE_LOGIT
        shift, fill = (1 / temperature, 0.0) if plain else (0.0, -math.inf)

        def tiles(a: int) -> Iterator[tuple[int, Tensor]]:
            """Tiles of exponentials (``plain``) or logits of a block of rows."""
            for b, key in enumerate(keys):
                tile = blocks[a] @ key.t()
                if plain:
                    tile.sub_(shift).exp_()
                yield b, tile.masked_fill_(rows[a].unsqueeze(1) == columns[b], fill)

        parts = []
        for a in range(len(rows)):
            if plain:
                parts.append(torch.stack([tile.sum(1) for _, tile in tiles(a)]).sum(0).log() + shift)
            else:
                parts.append(torch.stack([tile.logsumexp(1) for _, tile in tiles(a)]).logsumexp(0))
        lse = join(torch.cat(parts))
        finite = lse.masked_fill(lse == -math.inf, 0)
        pull = x.new_zeros(own.numel(), x.size(1))
        if plain:
            share = torch.where(lse == -math.inf, 0, weight * (shift - finite).exp())
        for a, out in enumerate(pull.split(size)):
            for b, tile in tiles(a):
                if plain:
                    tile.mul_(share[rows[a]].unsqueeze(1) + share[columns[b]])
                else:
                    back = (tile - finite[columns[b]]).exp_().mul_(weight[columns[b]])
                    tile.sub_(finite[rows[a]].unsqueeze(1)).exp_().mul_(weight[rows[a]].unsqueeze(1)).add_(back)
                out.addmm_(tile, keys[b])
    return lse, pull
