"""Two Triton kernels over all pairs of rows and columns: sums of the row softmax, and messages along it.

A program owns a block of rows and visits its columns in order, so that results repeat to the bit: nothing is atomic.
``high`` and ``low`` are the halves of float32 features in float16; their three products (low times low is left out) are
about as accurate as float32. Without ``low``, ``high`` is all. Both are padded: the rows to whole blocks, the width to
a power of two. An argument that is ``None`` leaves its part out of the compiled kernel.
"""

import triton
import triton.language as tl


@triton.jit
def _product(high, low, other_high, other_low):
    """A · B, small parts first."""
    if low is None:
        out = tl.dot(high, other_high)
    else:
        out = tl.dot(low, other_high)
        out = tl.dot(high, other_low, out)
        out = tl.dot(high, other_high, out)
    return out


@triton.jit
def _load(at, first, SIZE: tl.constexpr, D: tl.constexpr):
    place = tl.arange(0, SIZE)[:, None] * D + tl.arange(0, D)[None, :]
    return tl.load(at + tl.cast(first, tl.int64) * D + place)


@triton.jit
def _logits(q_high, q_low, k_high, k_low, node, graph, column_graph, left, m, scale, COLUMNS: tl.constexpr):
    """Logits of a tile, to base 2; −inf where there is no pair."""
    column = left + tl.arange(0, COLUMNS)
    other_low = None if k_low is None else tl.trans(k_low)
    logits = _product(q_high, q_low, tl.trans(k_high), other_low) * scale
    pair = (column < m)[None, :]
    if node is not None:
        pair = pair & (column[None, :] != node[:, None])
    if graph is not None:
        pair = pair & (tl.load(column_graph + column, mask=column < m, other=-1)[None, :] == graph[:, None])
    return tl.where(pair, logits, -float("inf"))


@triton.jit
def _without_edges(logits, edge, key, edge_key, edge_row, base, rows, left, COLUMNS: tl.constexpr):
    """Take edges out of a tile: ``edge`` is the next one, ``key`` its block of rows and its column as one number."""
    column = left + tl.arange(0, COLUMNS)
    while key < base + left + COLUMNS:
        taken = (rows[:, None] == tl.load(edge_row + edge)) & (column[None, :] == key - base)
        logits = tl.where(taken, -float("inf"), logits)
        edge += 1
        key = tl.load(edge_key + edge)
    return logits, edge, key


@triton.jit
def _columns(bounds, m, block, part, parts, COLUMNS: tl.constexpr):
    """Columns of a program: those of the graphs of its rows, or its part of them."""
    if bounds is None:
        first, last = 0, m
    else:
        first, last = tl.load(bounds + 2 * block), tl.load(bounds + 2 * block + 1)
    size = tl.cdiv(tl.cdiv(last - first, COLUMNS), parts) * COLUMNS
    return first + part * size, tl.minimum(first + part * size + size, last)


@triton.jit
def _add(peak, total, logits, PLAIN: tl.constexpr):
    """Sum powers of two, ``PLAIN`` or relative to the largest logit so far."""
    if PLAIN:
        return peak, total + tl.sum(tl.exp2(logits), 1)
    new = tl.maximum(peak, tl.max(logits, 1))
    base = tl.where(new == -float("inf"), 0.0, new)
    return new, total * tl.exp2(peak - base) + tl.sum(tl.exp2(logits - base[:, None]), 1)


@triton.jit(do_not_specialize=["n", "m", "parts"])
def row_sums(
    q_high, q_low, k_high, k_low, node, graph, column_graph, bounds, edge_key, edge_row, edge_first,
    peak_out, total_out, n, m, scale, parts,
    D: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """Largest logit of each row (unless ``PLAIN``) and sum of powers of two relative to it, by part of the columns."""
    block, part = tl.program_id(0), tl.program_id(1)
    rows = block * ROWS + tl.arange(0, ROWS)
    qh = _load(q_high, block * ROWS, ROWS, D)
    ql = None if q_low is None else _load(q_low, block * ROWS, ROWS, D)
    own = None if node is None else tl.load(node + rows, mask=rows < n, other=-1)
    mine = None if graph is None else tl.load(graph + rows, mask=rows < n, other=-2)
    left, last = _columns(bounds, m, block, part, parts, COLUMNS)
    scale = tl.load(scale)
    base, edge, key = tl.cast(block, tl.int64) * m, 0, tl.cast(0, tl.int64)
    if edge_key is not None:
        edge = tl.load(edge_first + block * parts + part)
        key = tl.load(edge_key + edge)
    peak, total = tl.full([ROWS], -float("inf"), tl.float32), tl.zeros([ROWS], tl.float32)
    for here in range(left, last, COLUMNS):
        kh = _load(k_high, here, COLUMNS, D)
        kl = None if k_low is None else _load(k_low, here, COLUMNS, D)
        logits = _logits(qh, ql, kh, kl, own, mine, column_graph, here, m, scale, COLUMNS)
        if edge_key is not None:
            logits, edge, key = _without_edges(logits, edge, key, edge_key, edge_row, base, rows, here, COLUMNS)
        peak, total = _add(peak, total, logits, PLAIN)
    out = tl.cast(part, tl.int64) * n + rows
    if not PLAIN:
        tl.store(peak_out + out, peak, mask=rows < n)
    tl.store(total_out + out, total, mask=rows < n)


@triton.jit
def _send(
    sent, logits, kh, kl, weight, shift, column_weight, column_shift, left, m,
    COLUMNS: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """Add the messages of a tile: each column times its share of the row and the row's share of it."""
    column = left + tl.arange(0, COLUMNS)
    if PLAIN:
        both = tl.load(column_weight + column, mask=column < m, other=0.0)[None, :] + weight[:, None]
        share = tl.exp2(logits) * both
    else:
        share = tl.zeros_like(logits)
        if weight is not None:
            share += tl.exp2(logits - shift[:, None]) * weight[:, None]
        if column_weight is not None:
            back = tl.load(column_shift + column, mask=column < m, other=0.0)
            share += (
                tl.exp2(logits - back[None, :]) * tl.load(column_weight + column, mask=column < m, other=0.0)[None, :]
            )
    high = share.to(kh.dtype)
    low = None if kl is None else (share - high.to(tl.float32)).to(kh.dtype)
    # With halves the sum over tiles is not the accumulator of a tensor core, which rounds toward zero at every step.
    return sent + _product(high, low, kh, kl)


@triton.jit(do_not_specialize=["n", "m", "parts"])
def messages(
    q_high, q_low, k_high, k_low, node, graph, column_graph, bounds, edge_key, edge_row, edge_first,
    row_weight, row_shift, column_weight, column_shift, out, n, m, scale, parts,
    D: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """Messages to each row by part of the columns: Σ_j (w_i 2^(s_ij − l_i) + w_j 2^(s_ij − l_j)) k_j.

    ``PLAIN``: Σ_j 2^s_ij (w_i + w_j) k_j.
    """
    block, part = tl.program_id(0), tl.program_id(1)
    rows = block * ROWS + tl.arange(0, ROWS)
    qh = _load(q_high, block * ROWS, ROWS, D)
    ql = None if q_low is None else _load(q_low, block * ROWS, ROWS, D)
    own = None if node is None else tl.load(node + rows, mask=rows < n, other=-1)
    mine = None if graph is None else tl.load(graph + rows, mask=rows < n, other=-2)
    weight = None if row_weight is None else tl.load(row_weight + rows, mask=rows < n, other=0.0)
    shift = None if row_shift is None else tl.load(row_shift + rows, mask=rows < n, other=0.0)
    left, last = _columns(bounds, m, block, part, parts, COLUMNS)
    scale = tl.load(scale)
    base, edge, key = tl.cast(block, tl.int64) * m, 0, tl.cast(0, tl.int64)
    if edge_key is not None:
        edge = tl.load(edge_first + block * parts + part)
        key = tl.load(edge_key + edge)
    sent = tl.zeros([ROWS, D], tl.float32)
    for here in range(left, last, COLUMNS):
        kh = _load(k_high, here, COLUMNS, D)
        kl = None if k_low is None else _load(k_low, here, COLUMNS, D)
        logits = _logits(qh, ql, kh, kl, own, mine, column_graph, here, m, scale, COLUMNS)
        if edge_key is not None:
            logits, edge, key = _without_edges(logits, edge, key, edge_key, edge_row, base, rows, here, COLUMNS)
        sent = _send(sent, logits, kh, kl, weight, shift, column_weight, column_shift, here, m, COLUMNS, PLAIN)
    place = (tl.cast(part, tl.int64) * n + rows)[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(out + place, sent, mask=(rows < n)[:, None])
