r"""Softmax over all pairs of nodes: the complete affinity graph.

The matrix of logits is symmetric, so a kernel visits its upper triangle, once for the row sums and once for the
messages. Where few tiles make up the triangle, they are kept from the first visit to the second; where one tile holds
all pairs, one visit does.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch
from cl_as_gnn.nn.streaming.tiles import Tiles, entries, squares

# Largest |logit| whose exponential can be summed over 2**20 nodes without a shift by the row maximum.
_SAFE_LOGIT = {torch.float64: 600.0, torch.float32: 60.0}
# Below this temperature the rounding of a bf16 inner product moves a softmax weight by more than 2 %.
_BF16_MIN_TEMPERATURE = 0.1
# On a CPU powers of two take a third of the time of powers of e.
_LOG2_E = math.log2(math.e)


def _softmax_all_pairs(
    x: Tensor, row_weight: Tensor, batch: Tensor | None, temperature: float, unit: bool, bf16: bool, tile: int = 0
) -> tuple[Tensor, Tensor]:
    n, dtype = x.size(0), torch.bfloat16 if bf16 else x.dtype
    if n < 2:
        return x.new_full((n,), -math.inf), torch.zeros_like(x)
    plain = unit and 1 / temperature <= _SAFE_LOGIT[x.dtype]
    tiles = squares((n, n), x.device, dtype, tile, symmetric=True, batch=batch)
    if plain and batch is None and len(tiles) == 1:
        return _one_tile(x, row_weight, temperature, bf16)
    x, row_weight = tiles.sort(x), tiles.sort(row_weight)
    scaled = (x * math.sqrt((_LOG2_E if plain else 1) / temperature)).to(dtype)
    keep = not tile and len(tiles) * tiles.area <= entries("strip", x.device, dtype)
    lse, message = _two_visits(x, row_weight, scaled, tiles, plain, keep)
    return tiles.unsort(lse), tiles.unsort(message)


def _one_tile(x: Tensor, row_weight: Tensor, temperature: float, bf16: bool) -> tuple[Tensor, Tensor]:
    """With few nodes only the arithmetic may take time."""
    keys = x.to(torch.bfloat16) if bf16 else x
    share = torch.mm(keys * (_LOG2_E / temperature), keys.t()).exp2_().fill_diagonal_(0)
    total = share.sum(1, dtype=x.dtype)
    weight = (row_weight / total).to(keys.dtype)
    return total.log(), torch.mm(share.mul_(weight.unsqueeze(1) + weight), keys).to(x.dtype)


def _two_visits(
    x: Tensor, row_weight: Tensor, scaled: Tensor, tiles: Tiles, plain: bool, keep: bool
) -> tuple[Tensor, Tensor]:
    """``plain``: as powers of two, not relative to the log-partition of the row; ``keep`` the tiles of the first visit
    for the second."""
    fill = 0.0 if plain else -math.inf
    total, message, keys = x.new_full((x.size(0),), fill), torch.zeros_like(x), x.to(scaled.dtype)
    buffers = [scaled.new_empty(tiles.area) for _ in tiles] if keep else [scaled.new_empty(tiles.area)] * len(tiles)
    spare = scaled.new_empty(tiles.area)
    # A CPU sums bf16 faster after a copy, a GPU while it reads.
    wide = x.new_empty(tiles.area) if scaled.dtype != x.dtype and not x.is_cuda else None

    def pairs(rows: slice, columns: slice, buffer: Tensor) -> Tensor:
        tile = torch.mm(scaled[rows], scaled[columns].t(), out=_part(buffer, rows, columns))
        return tiles.mask(tile.exp2_() if plain else tile, rows, columns, fill)

    for (rows, columns), buffer in zip(tiles, buffers, strict=True):
        tile = pairs(rows, columns, buffer)
        if wide is not None:
            tile = _part(wide, rows, columns).copy_(tile)
        for part, dim in ((rows, 1), (columns, 0))[: 1 + (rows != columns)]:
            if plain:
                total[part].add_(tile.sum(dim, dtype=x.dtype))
            else:
                total[part] = torch.logaddexp(total[part], tile.logsumexp(dim))
    lse = total.log() if plain else total
    shift = lse.masked_fill(lse == -math.inf, 0)
    weight = torch.where(total > 0, row_weight / total, 0).to(scaled.dtype) if plain else row_weight
    for (rows, columns), buffer in zip(tiles, buffers, strict=True):
        tile = _part(buffer, rows, columns) if keep else pairs(rows, columns, buffer)
        if plain:
            tile.mul_(torch.add(weight[rows].unsqueeze(1), weight[columns], out=_part(spare, rows, columns)))
        else:
            forth = (tile - shift[rows].unsqueeze(1)).exp_().mul_(weight[rows].unsqueeze(1))
            tile = (tile - shift[columns]).exp_().mul_(weight[columns]).add_(forth)
        for to, source, share in ((rows, columns, tile), (columns, rows, tile.t()))[: 1 + (rows != columns)]:
            if tile.dtype == x.dtype:
                message[to].addmm_(share, keys[source])
            else:
                message[to].add_(share @ keys[source])
    return lse, message


def _part(buffer: Tensor, rows: slice, columns: slice) -> Tensor:
    """The start of a buffer, in the shape of a tile."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    return buffer[: shape[0] * shape[1]].view(shape)


# A compiler sees one operator. Without a compiler, the call of an operator would only cost time.
_compiled_softmax_all_pairs = torch.library.custom_op(
    "cl_as_gnn::softmax_all_pairs", _softmax_all_pairs, mutates_args=()
)
_compiled_softmax_all_pairs.register_fake(lambda x, *rest: (x.new_empty(x.size(0)), torch.empty_like(x)))


def softmax_all_pairs(
    x: Tensor,
    temperature: float = 1.0,
    row_weight: Tensor | None = None,
    batch: Tensor | None = None,
    *,
    unit: bool = False,
    tile: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Compute the log-partition of each node over all others, and the message that its gradient sends.

    .. math::
        \ell_i = \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \quad P_{ij} = e^{x_i \cdot x_j / \tau - \ell_i}, \qquad
        m_i = \sum_{j \neq i} (\rho_i P_{ij} + \rho_j P_{ji}) \, x_j ,

    in matrix form :math:`M = (RP + P^\top R) X` with :math:`R = \mathrm{diag}(\rho)`, so that
    :math:`\partial (\sum_i \rho_i \ell_i) / \partial X = M / \tau`. Messages flow both ways along every edge of the
    complete graph without self-loops. Autograd records nothing: the result is the gradient.

    Args:
        x: node features, ``(n, d)``, float32 or float64 (half precision is promoted to float32).
        temperature: :math:`\tau > 0`.
        row_weight: :math:`\rho`, ``(n,)``; ones by default.
        batch: graph of each node, ``(n,)``; nodes of different graphs make no pair.
        unit: the rows have unit length, so that no shift by the row maximum is needed unless :math:`\tau` is tiny.
        tile: side of the tiles; by the memory of the device by default.

    Returns:
        :math:`\ell` ``(n,)`` and :math:`M` ``(n, d)``. A node alone in its graph has :math:`\ell_i = -\infty` and sends
        nothing.

    Raises:
        ValueError: the temperature is not positive, or ``batch`` has another length than ``x``.

    Under autocast to bfloat16, unit rows at :math:`\tau \ge 0.1` have products in bfloat16 and sums in float32.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_batch("softmax_all_pairs", batch, x)
    x = x.detach() if x.dtype in _SAFE_LOGIT else x.detach().float()
    cast = torch.is_autocast_enabled(x.device.type)
    bf16 = cast and torch.get_autocast_dtype(x.device.type) == torch.bfloat16
    bf16 = bf16 and unit and x.dtype == torch.float32 and temperature >= _BF16_MIN_TEMPERATURE
    weight = x.new_ones(x.size(0)) if row_weight is None else row_weight.detach().to(x.dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False) if cast else nullcontext():
        run = _compiled_softmax_all_pairs if torch.compiler.is_compiling() else _softmax_all_pairs
        return run(x.contiguous(), weight, batch, float(temperature), unit, bf16, tile or 0)
