r"""Softmax over all pairs of nodes: the complete affinity graph.

The matrix of logits is symmetric, so a kernel visits its upper triangle, once for the row sums and once for the
messages. Where few tiles make up the triangle, they are kept from the first visit to the second; where one tile holds
all pairs, one visit does.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch, check_range
from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.streaming import fused
from cl_as_gnn.nn.streaming.tile_edges import TileEdges
from cl_as_gnn.nn.streaming.tiles import entries, squares
from cl_as_gnn.nn.streaming.visits import Visits, wide_product

# Largest |logit| whose exponential can be summed over 2**20 nodes without a shift by the row maximum.
SAFE_LOGIT = {torch.float64: 600.0, torch.float32: 60.0}
# Below this temperature the rounding of a bf16 inner product moves a softmax weight by more than 2 %.
_BF16_MIN_TEMPERATURE = 0.1
# On a CPU powers of two take a third of the time of powers of e.
_LOG2_E = math.log2(math.e)


def _softmax_all_pairs(
    x: Tensor,
    row_weight: Tensor,
    batch: Tensor | None,
    temperature: float,
    unit: bool,
    bf16: bool,
    tile: int = 0,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    n, dtype = x.size(0), torch.bfloat16 if bf16 else x.dtype
    if edge_index is not None and edge_weight is not None:
        check_range("EdgeContrast", edge_index, (n, n))
        row_weight = x.new_zeros(n).index_add_(0, edge_index[1], edge_weight)
    if n < 2:
        return x.new_full((n,), -math.inf), torch.zeros_like(x), x.new_zeros(2, 0)
    plain = unit and 1 / temperature <= SAFE_LOGIT[x.dtype]
    if fused.fused(x, bf16, tile):
        return fused.all_pairs(x, row_weight, batch, temperature, unit, plain, bf16, edge_index, edge_weight)
    tiles = squares((n, n), x.device, dtype, tile, symmetric=True, batch=batch)
    edges = (
        None if edge_index is None or edge_weight is None else TileEdges(edge_index, edge_weight, tiles, temperature)
    )
    if plain and batch is None and len(tiles) == 1:
        return _one_tile(x, row_weight, temperature, bf16, edges)
    x, row_weight = tiles.sort(x), tiles.sort(row_weight)
    scaled = (x * math.sqrt((_LOG2_E if plain else 1) / temperature)).to(dtype)
    keep = not tile and len(tiles) * tiles.area <= entries("strip", x.device, dtype)
    lse, message, along = Visits(x, scaled, tiles, plain, keep, edges).run(row_weight)
    return tiles.unsort(lse), tiles.unsort(message), along


def _one_tile(
    x: Tensor, row_weight: Tensor, temperature: float, bf16: bool, edges: TileEdges | None
) -> tuple[Tensor, Tensor, Tensor]:
    """With few nodes only the arithmetic may take time."""
    keys = x.to(torch.bfloat16) if bf16 else x
    scaled = keys * (_LOG2_E / temperature)
    share = wide_product(scaled, keys.t(), x.dtype).exp2_().to(keys.dtype).fill_diagonal_(0)
    if edges is not None:
        edges.take(0, share, 0.0, True)
    total = share.sum(1, dtype=x.dtype)
    if edges is not None:
        total, _ = edges.join(total, None)
    weight = (row_weight / total).to(keys.dtype)
    message = wide_product(share.mul_(weight.unsqueeze(1) + weight), keys, x.dtype).to(x.dtype)
    lse = total.log()
    return lse, message, x.new_zeros(2, 0) if edges is None else edges.result(x, lse, row_weight)


# A compiler sees one operator. Without a compiler, the call of an operator would only cost time.
_compiled_softmax_all_pairs = torch.library.custom_op(
    "cl_as_gnn::softmax_all_pairs", _softmax_all_pairs, mutates_args=()
)


@_compiled_softmax_all_pairs.register_fake
def _(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    edge_index = rest[6] if len(rest) > 6 else None
    along = x.new_empty(2, 0 if edge_index is None or x.size(0) < 2 else edge_index.size(1))
    return x.new_empty(x.size(0)), torch.empty_like(x), along


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
    x = x.detach() if x.dtype in SAFE_LOGIT else x.detach().float()
    weight = x.new_ones(x.size(0)) if row_weight is None else row_weight.detach().to(x.dtype)
    bf16 = unit and products_in_bf16(x, temperature)
    lse, message, _ = _run(x.contiguous(), weight, batch, float(temperature), unit, bf16, tile or 0)
    return lse, message


def products_in_bf16(x: Tensor, temperature: float) -> bool:
    """Whether products of unit rows run in bfloat16: under autocast to it, unless the temperature is low."""
    cast = torch.is_autocast_enabled(x.device.type)
    bf16 = cast and torch.get_autocast_dtype(x.device.type) == torch.bfloat16
    return bf16 and x.dtype == torch.float32 and temperature >= _BF16_MIN_TEMPERATURE


def _run(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    cast = torch.is_autocast_enabled(x.device.type)
    plain = torch.autocast(x.device.type, enabled=False) if cast else nullcontext()
    with torch.no_grad(), plain, exact_products(x.device):
        run = _compiled_softmax_all_pairs if torch.compiler.is_compiling() else _softmax_all_pairs
        out: tuple[Tensor, Tensor, Tensor] = run(x, *rest)
        return out


def contrast_all_pairs(
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor,
    temperature: float,
    batch: Tensor | None = None,
    tile: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Compute the log-softmax of each edge among all pairs, and the message of repulsion, split into edges and others.

    .. math::
        \log p_{ij} = x_i \cdot x_j / \tau - \ell_i \;\; (j \to i), \qquad
        (A + A^\top - RP - P^\top R) X = (C + C^\top) X - M,

    as :func:`softmax_all_pairs` on unit rows, R the row sums of A. :math:`C` lives on the edges, and :math:`M` has none
    of them: near convergence A and RP cancel, and C, from the sum of the other pairs, is as accurate as p.

    Args:
        x: unit rows ``(n, d)``, float32 or float64.
        edge_index: ``(2, E)``, row 0 the sources j, row 1 the anchors i; E about n, since edges are visited one by one.
        edge_weight: weights of A, ``(E,)``.
        temperature: :math:`\tau`.
        batch: as in :func:`softmax_all_pairs`.
        tile: as in :func:`softmax_all_pairs`.

    Returns:
        :math:`\log p` ``(E,)``, at most 0 (but for loops, which :math:`\ell` leaves out); the weights of :math:`C`
        ``(E,)``; and :math:`M` ``(n, d)``.
    """
    rest = (batch, float(temperature), True, False, tile or 0, edge_index, edge_weight.to(x.dtype))
    _, message, (log_share, slope) = _run(x.contiguous(), x[:, 0], *rest)
    return log_share, slope, message
