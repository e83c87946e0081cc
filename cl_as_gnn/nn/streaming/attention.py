r"""Self-attention over the complete graph without self-loops, differentiable, in rows of bounded size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch

# Elements of one strip of the attention matrix: 2**22 floats are 16 MB.
_STRIP = {"cpu": 2**22, "cuda": 2**28}
# Rows of one strip where there are graphs: small ones share a strip, and meet little of each other.
_ROWS = 256


Strip = tuple[slice, slice]


def _strips(rows: int, columns: int, device: torch.device, batch: Tensor | None) -> list[Strip]:
    """Rows, and the columns that they may meet: with a sorted ``batch`` those of their own graphs."""
    size = max(1, _STRIP.get(device.type, 2**22) // max(columns, 1))
    # A GPU would be waited for, which one strip is not worth.
    if batch is None or (device.type == "cuda" and rows <= size):
        return [(slice(s, min(s + size, rows)), slice(0, columns)) for s in range(0, rows, size)]
    first = torch.arange(0, rows, min(size, _ROWS), device=device)
    last = (first + min(size, _ROWS)).clamp(max=rows)
    left, right = torch.searchsorted(batch, batch[first]), torch.searchsorted(batch, batch[last - 1], right=True)
    bounds = torch.stack([first, last, left, right], 1).tolist()
    return [(slice(a, b), slice(c, d)) for a, b, c, d in bounds]


def _by_graph(batch: Tensor | None, *features: Tensor) -> tuple[Tensor | None, Tensor | None, tuple[Tensor, ...]]:
    """Nodes in the order of their graphs: that order, ``batch`` and features in it."""
    if batch is None:
        return None, None, features
    order = torch.argsort(batch, stable=True)
    return order, batch[order].contiguous(), tuple(x[order] for x in features)


def _back(order: Tensor | None, x: Tensor) -> Tensor:
    return x if order is None else torch.empty_like(x).index_copy_(0, order, x)


def _softmax(query: Tensor, key: Tensor, strip: Strip, temperature: float, loops: bool, batch: Tensor | None) -> Tensor:
    rows, columns = strip
    logits = (query[rows] / temperature) @ key[columns].t()
    if not loops:
        logits.diagonal(rows.start - columns.start).fill_(-math.inf)
    if batch is not None:
        logits.masked_fill_(batch[rows].unsqueeze(1) != batch[columns], -math.inf)
    # A row with nothing to attend to is a row of zeros, not of NaN.
    return torch.softmax(logits, dim=1).nan_to_num_(nan=0.0)


@torch.library.custom_op("cl_as_gnn::pairwise_attention", mutates_args=())
def _attention(
    query: Tensor, key: Tensor, value: Tensor, temperature: float, loops: bool, batch: Tensor | None
) -> Tensor:
    order, batch, (query, key, value) = _by_graph(batch, query, key, value)
    out = value.new_empty(query.size(0), value.size(1))
    for strip in _strips(query.size(0), key.size(0), query.device, batch):
        rows, columns = strip
        out[rows] = _softmax(query, key, strip, temperature, loops, batch) @ value[columns]
    return _back(order, out)


@_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, temperature: float, loops: bool, batch: Tensor | None) -> Tensor:
    return value.new_empty(query.size(0), value.size(1))


@torch.library.custom_op("cl_as_gnn::pairwise_attention_backward", mutates_args=())
def _attention_backward(
    grad: Tensor,
    out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    temperature: float,
    loops: bool,
    batch: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    order, batch, (grad, out, query, key, value) = _by_graph(batch, grad, out, query, key, value)
    to_query, to_key, to_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    for strip in _strips(query.size(0), key.size(0), query.device, batch):
        rows, columns = strip
        share = _softmax(query, key, strip, temperature, loops, batch)
        to_value[columns].addmm_(share.t(), grad[rows])
        # dL/dlogits = P * (g v^T - <g, o>), the softmax Jacobian with the row's output already known.
        slope = grad[rows] @ value[columns].t()
        slope.sub_((grad[rows] * out[rows]).sum(1, keepdim=True)).mul_(share).div_(temperature)
        to_query[rows] = slope @ key[columns]
        to_key[columns].addmm_(slope.t(), query[rows])
    return _back(order, to_query), _back(order, to_key), _back(order, to_value)


@_attention_backward.register_fake
def _(
    grad: Tensor,
    out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    temperature: float,
    loops: bool,
    batch: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    query, key, value, ctx.temperature, ctx.loops, batch = inputs
    ctx.save_for_backward(query, key, value, output, *(() if batch is None else (batch,)))


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    query, key, value, out, *batch = ctx.saved_tensors
    grads = _attention_backward(
        grad.contiguous(), out, query, key, value, ctx.temperature, ctx.loops, batch[0] if batch else None
    )
    return *grads, None, None, None


_attention.register_autograd(_backward, setup_context=_setup)


def pairwise_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    temperature: float = 1.0,
    *,
    loops: bool = False,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Row softmax of all inner products, applied to values: messages flow from every key node to every query node.

    .. math::
        O = P V, \qquad P_{ij} = \frac{e^{q_i \cdot k_j / \tau}}{\sum_{l} e^{q_i \cdot k_l / \tau}},

    over :math:`l \neq i` unless ``loops``, and over nodes of the same graph where ``batch`` is given, in any order. The
    attention matrix is made a strip of rows at a time, forward and backward, and never kept; with ``batch`` a strip has
    the columns of its own graphs alone.

    Args:
        query: ``(n, d)``; key: ``(m, d)``; value: ``(m, c)``. Without ``loops`` or with ``batch``, m = n.
        temperature: :math:`\tau > 0`.

    Returns:
        ``(n, c)``; zeros for a node with no other node in its graph. Differentiable once, exact in float64.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_batch(batch, query.size(0))
    if (not loops or batch is not None) and query.size(0) != key.size(0):
        raise ValueError(
            f"attention without self-loops or with `batch` is within one set of nodes, got {query.size(0)} queries "
            f"and {key.size(0)} keys: pass loops=True and no batch for two sets"
        )
    with torch.autocast(query.device.type, enabled=False):
        if query.dtype not in (torch.float32, torch.float64):
            full: Tensor = _attention(query.float(), key.float(), value.float(), temperature, loops, batch)
            return full.to(value.dtype)
        out: Tensor = _attention(query, key.to(query.dtype), value.to(query.dtype), temperature, loops, batch)
        return out
