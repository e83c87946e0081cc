r"""The complete affinity graph, streamed: softmax over all pairs of nodes in memory linear in their number.

For rows :math:`x_i` and the row softmax without self-loops

.. math::
    P_{ij} = \frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \neq i} e^{x_i \cdot x_k / \tau}}, \qquad P_{ii} = 0,

no :math:`n \times n` tensor is kept: tiles of the similarity matrix are made, used and overwritten. The matrix of
logits is symmetric, so only its upper triangle is visited. Up to 2048 nodes the tiles are kept from the first pass to
the second, and what fits one tile is done at once: 16 MB at most.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch

# Largest |logit| whose exponential can be summed over 2**20 nodes without a shift by the row maximum.
_SAFE_LOGIT = {torch.float64: 600.0, torch.float32: 60.0}
# Below this temperature the rounding of a bf16 inner product moves a softmax weight by more than 2 %.
_BF16_MIN_TEMPERATURE = 0.1
# Up to this many pairs the tiles of the first pass are kept for the second: 16 MB in float32.
_KEPT = 2**22
# Powers of two cost a CPU a third of what powers of e cost.
_LOG2_E = math.log2(math.e)


def _tile(n: int, device: torch.device, dtype: torch.dtype) -> int:
    if device.type == "cuda":
        return 8192
    return min(n, 1024 if dtype == torch.bfloat16 else 512)


def _softmax_all_pairs(
    x: Tensor, row_weight: Tensor, batch: Tensor | None, temperature: float, unit: bool, bf16: bool, side: int = 0
) -> tuple[Tensor, Tensor]:
    n = x.size(0)
    lse = x.new_full((n,), -math.inf)
    pull = torch.zeros_like(x)
    if n < 2:
        return lse, pull
    plain = unit and 1 / temperature <= _SAFE_LOGIT[x.dtype]
    if plain and batch is None and n <= (side or _tile(n, x.device, torch.bfloat16 if bf16 else x.dtype)):
        return _one_tile(x, row_weight, temperature, bf16)
    fill = 0.0 if plain else -math.inf
    scaled = x * math.sqrt((_LOG2_E if plain else 1) / temperature)
    if bf16:
        scaled = scaled.to(torch.bfloat16)
    size = side or _tile(n, x.device, scaled.dtype)
    starts = range(0, n, size)
    blocks = scaled.split(size)
    # A GPU is asked only where there are tiles to leave out.
    bounds = None
    if batch is not None and len(blocks) > 1:
        bounds = [(int(b.min()), int(b.max())) for b in batch.split(size)]
    buffer = scaled.new_empty(size, size)
    kept: dict[tuple[int, int], Tensor] | None = {} if plain and not side and n * n <= _KEPT else None

    def tiles() -> list[tuple[int, int]]:
        pairs = [(a, b) for a in range(len(blocks)) for b in range(a, len(blocks))]
        if bounds is None:
            return pairs
        # Two blocks that share no graph hold no pair; `batch` need not be sorted for this to be right.
        return [(a, b) for a, b in pairs if bounds[a][0] <= bounds[b][1] and bounds[b][0] <= bounds[a][1]]

    def part(of: Tensor, a: int, b: int) -> Tensor:
        return of.view(-1)[: len(blocks[a]) * len(blocks[b])].view(len(blocks[a]), len(blocks[b]))

    def logits(a: int, b: int) -> Tensor:
        out = part(buffer if kept is None else torch.empty_like(buffer), a, b)
        torch.mm(blocks[a], blocks[b].t(), out=out)
        if plain:
            out.exp2_()
        if a == b:
            out.fill_diagonal_(fill)
        if batch is not None:
            rows, columns = (batch[starts[k] : starts[k] + len(blocks[k])] for k in (a, b))
            out.masked_fill_(rows.unsqueeze(1) != columns.unsqueeze(0), fill)
        return out

    if plain:
        total = x.new_zeros(n)
        sums = total.split(size)
        # A CPU sums bf16 faster after a copy, a GPU while it reads.
        wide = x.new_empty(size, size) if bf16 and not x.is_cuda else None
        for a, b in tiles():
            tile = logits(a, b)
            if kept is not None:
                kept[a, b] = tile
            if wide is not None:
                tile = part(wide, a, b).copy_(tile)
            sums[a].add_(tile.sum(1, dtype=x.dtype))
            if a != b:
                sums[b].add_(tile.sum(0, dtype=x.dtype))
        torch.log(total, out=lse)
        weight = torch.where(total > 0, row_weight / total, 0).to(scaled.dtype).split(size)
    else:
        parts = lse.split(size)
        for a, b in tiles():
            tile = logits(a, b).to(x.dtype)
            parts[a].copy_(torch.logaddexp(parts[a], tile.logsumexp(1)))
            if a != b:
                parts[b].copy_(torch.logaddexp(parts[b], tile.logsumexp(0)))
        finite = lse.masked_fill(lse == -math.inf, 0).split(size)
        weight = row_weight.split(size)

    keys = (x.to(torch.bfloat16) if bf16 else x).split(size)
    pulls = pull.split(size)
    second = scaled.new_empty(size, size)
    for a, b in tiles():
        tile = logits(a, b) if kept is None else kept.pop((a, b))
        if plain:
            scale = part(second, a, b)
            torch.add(weight[a].unsqueeze(1), weight[b].unsqueeze(0), out=scale)
            tile.mul_(scale)
        else:
            rows = (tile - finite[a].unsqueeze(1)).exp_().mul_(weight[a].unsqueeze(1))
            tile = (tile - finite[b].unsqueeze(0)).exp_().mul_(weight[b].unsqueeze(0)).add_(rows)
        tile = tile.to(keys[a].dtype)
        if bf16:
            pulls[a].add_(tile @ keys[b])
            if a != b:
                pulls[b].add_(tile.t() @ keys[a])
        else:
            pulls[a].addmm_(tile, keys[b])
            if a != b:
                pulls[b].addmm_(tile.t(), keys[a])
    return lse, pull


def _one_tile(x: Tensor, row_weight: Tensor, temperature: float, bf16: bool) -> tuple[Tensor, Tensor]:
    """The same where all pairs fit into a tile: few nodes leave no time for anything but the arithmetic."""
    keys = x.to(torch.bfloat16) if bf16 else x
    share = torch.mm(keys * (_LOG2_E / temperature), keys.t()).exp2_().fill_diagonal_(0)
    total = share.sum(1, dtype=x.dtype)
    weight = (row_weight / total).to(keys.dtype)
    return total.log(), torch.mm(share.mul_(weight.unsqueeze(1) + weight), keys).to(x.dtype)


# For a compiler to see one operator; called without one it would only cost time.
_compiled_softmax_all_pairs = torch.library.custom_op(
    "cl_as_gnn::softmax_all_pairs", _softmax_all_pairs, mutates_args=()
)


@_compiled_softmax_all_pairs.register_fake
def _(
    x: Tensor, row_weight: Tensor, batch: Tensor | None, temperature: float, unit: bool, bf16: bool, side: int = 0
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.size(0)), torch.empty_like(x)


def softmax_all_pairs(
    x: Tensor,
    temperature: float = 1.0,
    row_weight: Tensor | None = None,
    batch: Tensor | None = None,
    *,
    unit: bool = False,
    tile: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Log-partition of every node over all others, and the message that its gradient sends.

    .. math::
        \ell_i = \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        m_i = \sum_j (\rho_i P_{ij} + \rho_j P_{ji}) \, x_j ,

    in matrix form :math:`M = (RP + P^\top R) X` with :math:`R = \mathrm{diag}(\rho)`, so that
    :math:`\partial (\sum_i \rho_i \ell_i) / \partial X = M / \tau`. Messages flow both ways along every edge of the
    complete graph without self-loops. Nothing is recorded for autograd: the result *is* the gradient.

    Args:
        x: node features, ``(n, d)``, float32 or float64 (half precision is promoted to float32).
        temperature: :math:`\tau > 0`.
        row_weight: :math:`\rho`, ``(n,)``; all ones if not given.
        batch: graph of each node, ``(n,)``; nodes of different graphs do not see each other.
        unit: the rows have unit length, so that no shift by the row maximum is needed unless :math:`\tau` is tiny.
        tile: side of the tiles, the memory that is used beside the features; chosen for the device if not given.

    Returns:
        ``(n,)`` and ``(n, d)``. A node that is alone in its graph has :math:`\ell_i = -\infty` and sends nothing.

    Under autocast to bfloat16 the products run in bfloat16 with sums in float32, for :math:`\tau \ge 0.1`.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_batch(batch, x.size(0))
    x = x.detach()
    if x.dtype not in _SAFE_LOGIT:
        x = x.float()
    cast = torch.is_autocast_enabled(x.device.type)
    bf16 = (
        x.dtype == torch.float32
        and temperature >= _BF16_MIN_TEMPERATURE
        and unit
        and cast
        and torch.get_autocast_dtype(x.device.type) == torch.bfloat16
    )
    weight = x.new_ones(x.size(0)) if row_weight is None else row_weight.detach().to(x.dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False) if cast else nullcontext():
        run = _compiled_softmax_all_pairs if torch.compiler.is_compiling() else _softmax_all_pairs
        lse, pull = run(x.contiguous(), weight, batch, float(temperature), unit, bf16, tile or 0)
    return lse, pull


def softmax_bipartite(
    query: Tensor, key: Tensor, temperature: float = 1.0, row_weight: Tensor | None = None, *, chunk: int = 2048
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The same between two sets of nodes, :math:`P_{ij} \propto e^{q_i \cdot k_j / \tau}` over all keys :math:`j`.

    Returns:
        :math:`\ell` ``(n_q,)``, the message to the queries :math:`RPK` ``(n_q, d)`` and the message to the keys
        :math:`P^\top R Q` ``(n_k, d)``, so that :math:`\partial (\sum_i \rho_i \ell_i)` is ``message / temperature``.
        Rows of :math:`P` are made ``chunk`` at a time.
    """
    with torch.no_grad(), torch.autocast(query.device.type, enabled=False):
        dtype = query.dtype if query.dtype in _SAFE_LOGIT else torch.float32
        query, key = query.detach().to(dtype), key.detach().to(dtype)
        weight = query.new_ones(query.size(0)) if row_weight is None else row_weight.detach().to(dtype)
        lse = query.new_empty(query.size(0))
        to_query = torch.empty_like(query)
        to_key = torch.zeros_like(key)
        for s in range(0, query.size(0), chunk):
            rows = slice(s, s + chunk)
            logits = (query[rows] / temperature) @ key.t()
            lse[rows] = logits.logsumexp(1)
            share = logits.sub_(lse[rows].unsqueeze(1)).exp_().mul_(weight[rows].unsqueeze(1))
            to_query[rows] = share @ key
            to_key.addmm_(share.t(), query[rows])
    return lse, to_query, to_key
