from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch
from cl_as_gnn.nn.exact import exact_products
from cl_as_gnn.nn.forward_mode import forward_mode
from cl_as_gnn.nn.streaming.tiles import Tiles, strips


def _softmax(
    query: Tensor, key: Tensor, tiles: Tiles, rows: slice, columns: slice, temperature: float, loops: bool
) -> Tensor:
    logits = (query[rows] / temperature) @ key[columns].t()
    share = torch.softmax(tiles.mask(logits, rows, columns, -math.inf, loops=loops), dim=1)
    # A row with nothing to attend to is a row of zeros; the NaN of an overflow stays.
    if not loops and tiles.batch is not None:
        share.masked_fill_(tiles.alone(rows, columns), 0)
    elif not loops and share.size(1) == 1:
        share.zero_()
    return share


def _forward(
    query: Tensor, key: Tensor, value: Tensor, temperature: float, loops: bool, batch: Tensor | None
) -> Tensor:
    tiles = strips((query.size(0), key.size(0)), query, batch=batch)
    query, key, value = map(tiles.sort, (query, key, value))
    done = [_softmax(query, key, tiles, rows, columns, temperature, loops) @ value[columns] for rows, columns in tiles]
    return tiles.unsort(torch.cat(done) if done else value.new_zeros(0, value.size(1)))


_attention = torch.library.custom_op("cl_as_gnn::pairwise_attention", _forward, mutates_args=())
_attention.register_fake(lambda query, key, value, *rest: value.new_empty(query.size(0), value.size(1)))


@torch.library.custom_op("cl_as_gnn::pairwise_attention_backward", mutates_args=())
def _attention_backward(
    saved: list[Tensor], temperature: float, loops: bool, batch: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    tiles = strips((saved[0].size(0), saved[1].size(0)), saved[0], batch=batch)
    query, key, value, out, grad = map(tiles.sort, saved)
    to_query, to_key, to_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    for rows, columns in tiles:
        share = _softmax(query, key, tiles, rows, columns, temperature, loops)
        to_value[columns].addmm_(share.t(), grad[rows])
        # dL/dlogits = P * (g v^T - <g, o>), the softmax Jacobian with the row's output already known.
        slope = grad[rows] @ value[columns].t()
        slope.sub_((grad[rows] * out[rows]).sum(1, keepdim=True)).mul_(share).div_(temperature)
        to_query[rows] = slope @ key[columns]
        to_key[columns].addmm_(slope.t(), query[rows])
    return tiles.unsort(to_query), tiles.unsort(to_key), tiles.unsort(to_value)


_attention_backward.register_fake(lambda saved, *rest: tuple(torch.empty_like(x) for x in saved[:3]))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    query, key, value, ctx.temperature, ctx.loops, batch = inputs
    ctx.save_for_backward(query, key, value, output, batch)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *saved, batch = ctx.saved_tensors
    with torch.autocast(grad.device.type, enabled=False), exact_products(grad.device):
        parts = _attention_backward([*saved, grad.contiguous()], ctx.temperature, ctx.loops, batch)
    return *parts, None, None, None


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
    r"""Apply the row softmax of all inner products to values: messages flow from every key node to every query node.

    .. math::
        O = P V, \qquad P_{ij} = \frac{e^{q_i \cdot k_j / \tau}}{\sum_{l} e^{q_i \cdot k_l / \tau}},

    over :math:`l \neq i` unless ``loops``, and over nodes of the same graph where ``batch`` is given, in any order.
    Forward and backward make one strip of the attention matrix at a time.

    Args:
        query: ``(n, d)``.
        key: ``(m, d)``. Without ``loops`` or with ``batch``, m = n.
        value: ``(m, c)``.
        temperature: :math:`\tau > 0`.
        loops: let each node attend to itself.
        batch: graph of each node ``(n,)``.

    Returns:
        ``(n, c)``; zeros for a node without another node in its graph. Differentiable once, exact in float64.

    Raises:
        ValueError: the temperature is not positive, ``batch`` has another length than ``query``, or two sets of nodes
            come without ``loops`` or with ``batch``.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_batch("pairwise_attention", batch, query)
    if (not loops or batch is not None) and query.size(0) != key.size(0):
        raise ValueError(
            f"attention without self-loops or with `batch` expects one set of nodes, got {query.size(0)} queries and "
            f"{key.size(0)} keys: pass loops=True and no batch for two sets"
        )
    with torch.autocast(query.device.type, enabled=False), exact_products(query.device):
        wide = query if query.dtype in (torch.float32, torch.float64) else query.float()
        parts = wide, key.to(wide.dtype), value.to(wide.dtype)
        out: Tensor = (_forward if forward_mode(*parts) else _attention)(*parts, float(temperature), loops, batch)
        return out if wide is query else out.to(value.dtype)
