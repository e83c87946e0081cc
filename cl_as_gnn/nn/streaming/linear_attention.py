from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.nn.checks import check_batch
from cl_as_gnn.nn.forward_mode import forward_mode


def _blocks(query: Tensor, key: Tensor, value: Tensor, batch: Tensor) -> Tensor:
    if query.size(0) == 0:
        return value.new_empty(0, value.size(1))
    order = torch.argsort(batch, stable=True)
    sizes = torch.bincount(batch).tolist()
    # A backward pass may run under autocast.
    with torch.autocast(query.device.type, enabled=False):
        # A graph with fewer nodes than channels is cheaper through its own small attention matrix.
        done = [
            (q @ k.t()) @ v if q.size(0) < k.size(1) else q @ (k.t() @ v)
            for q, k, v in zip(*(part[order].split(sizes) for part in (query, key, value)), strict=True)
        ]
    return torch.cat(done)[order.argsort()]


_by_graph = torch.library.custom_op("cl_as_gnn::linear_attention", _blocks, mutates_args=())
_by_graph.register_fake(lambda query, key, value, batch: value.new_empty(query.size(0), value.size(1)))


def _setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    # O = (Q K^T) V block by block: each gradient is again of that form.
    query, key, value, batch = ctx.saved_tensors
    to_query = _by_graph(grad, value, key, batch)
    to_key = _by_graph(value, grad, query, batch)
    to_value = _by_graph(key, query, grad, batch)
    return to_query, to_key, to_value, None


_by_graph.register_autograd(_backward, setup_context=_setup)


def linear_attention(query: Tensor, key: Tensor, value: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""Apply inner products to values in :math:`O(n d c)`: messages flow from every key node to every query node.

    .. math::
        O = Q (K^\top V), \qquad o_i = \sum_j (q_i \cdot k_j) \, v_j,

    over all nodes j, or those of the same graph where ``batch`` is given; self included.

    Args:
        query: ``(n, d)``.
        key: ``(m, d)``; with ``batch``, m = n.
        value: ``(m, c)``.
        batch: graph of each node ``(n,)``, in any order.

    Returns:
        ``(n, c)``, differentiable any number of times.

    Raises:
        ValueError: ``batch`` has another length than ``query``.
    """
    check_batch("linear_attention", batch, query)
    with torch.autocast(query.device.type, enabled=False):
        if batch is None:
            return query @ (key.t() @ value)
        run = _blocks if forward_mode(query, key, value) else _by_graph
        out: Tensor = run(query, key, value, batch)
        return out
