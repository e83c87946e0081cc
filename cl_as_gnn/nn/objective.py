r"""One rule for every method: terms that attract and terms that repel, each a loss value and its message.

A term maps features to ``(value, message)`` with :math:`\text{message} = -\partial\,\text{value}/\partial x`. Their sum
is the objective; :func:`objective` hands the summed message to whatever made the features, so that training by the
loss and training by the message are the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from cl_as_gnn.nn.adjacency import LinearOperator
from cl_as_gnn.nn.all_pairs import softmax_all_pairs
from cl_as_gnn.nn.own_pairs import softmax_own_rows
from cl_as_gnn.nn.ranks import OwnRows

Term = Callable[[Tensor], tuple[Tensor, ...]]


class _HandOver(torch.autograd.Function):
    """The identity on a loss value whose gradient to each input is minus the message that came for it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *inputs_and_messages: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs_and_messages[len(inputs_and_messages) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "the gradient of a contrastive objective is handed over as a constant, and to differentiate it again "
                "would be silently wrong: call backward or autograd.grad without create_graph=True"
            )
        messages = ctx.saved_tensors
        back = -grad
        return (None, *[message * back for message in messages], *[None] * len(messages))


def objective(x: Tensor, *terms: Term) -> Tensor:
    """Sum of the terms' values at ``x`` ``(n, d)``; ``backward`` sends minus the sum of their messages to ``x``.

    A term with parameters of its own names them in a tuple ``learned`` and returns one more message for each.
    """
    with torch.no_grad():
        parts = [term(x.detach()) for term in terms]
        value, message = (reduce(add, (part[k] for part in parts)) for k in (0, 1))
    learned = [parameter for term in terms for parameter in getattr(term, "learned", ())]
    extra = [message for part in parts for message in part[2:]]
    out: Tensor = _HandOver.apply(value, x, *learned, message, *extra)
    return out


class Attraction:
    r"""Linear attraction along a graph of positives.

    .. math::
        L = -\frac{1}{W\tau} \sum_{ij} a_{ij}\, x_i \cdot y_j, \qquad
        \text{message} = \frac{1}{W\tau} (A + A^\top) X \;\; (y = x), \quad \frac{1}{W\tau} A Y \;\; (y \text{ fixed}),

    with :math:`W = \sum_{ij} a_{ij}`. Messages flow along the edges and, where the sources are trained themselves,
    back along them.

    Args:
        graph: the operator :math:`A`.
        temperature: :math:`\tau`.
        source: features :math:`Y` of other nodes (a bank, a stop-gradient target); the nodes themselves if not given.
        total: another :math:`W`, where several terms share one.
    """

    def __init__(
        self,
        graph: LinearOperator,
        temperature: float = 1.0,
        source: Tensor | None = None,
        total: float | None = None,
    ):
        self.graph, self.temperature, self.source, self.total = graph, temperature, source, total

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pulled = self.graph.pull(x if self.source is None else self.source.detach().to(x.dtype))
        scale = self.temperature * _total(self.graph.row_sum.to(x.dtype), self.total)
        message = pulled if self.source is not None else pulled + self.graph.push(x)
        return -(x * pulled).sum() / scale, message / scale


class SoftmaxRepulsion:
    r"""Repulsion along the complete affinity graph, the partition function of every softmax loss.

    .. math::
        L = \frac{1}{W} \sum_i \rho_i \log \sum_{k \neq i} e^{x_i \cdot x_k / \tau}, \qquad
        \text{message} = -\frac{1}{W \tau} (RP + P^\top R) X,

    with :math:`R = \mathrm{diag}(\rho)`, :math:`W = \sum_i \rho_i` and :math:`P` the row softmax without self-loops.
    With :math:`\rho` the row sums of the attraction, the two together are the cross-entropy of InfoNCE.

    Args:
        temperature: :math:`\tau`.
        row_weight: :math:`\rho` ``(n,)``; ones if not given.
        unit: the rows have unit length.
        batch: graph of each node: nodes of different graphs do not repel each other.
        total: another :math:`W`, where several terms share one.
        tile: of :func:`~cl_as_gnn.nn.all_pairs.softmax_all_pairs`.
        own: the rows of this rank, where ``x`` was gathered from several: the message is then zero in all others.
    """

    def __init__(
        self,
        temperature: float,
        row_weight: Tensor | None = None,
        *,
        unit: bool = True,
        batch: Tensor | None = None,
        total: float | None = None,
        tile: int | None = None,
        own: OwnRows | None = None,
    ):
        if batch is not None and own is not None:
            raise ValueError("SoftmaxRepulsion takes graphs of a batch or rows of a rank, not both")
        self.temperature, self.row_weight, self.unit = temperature, row_weight, unit
        self.batch, self.total, self.tile, self.own = batch, total, tile, own

    def _pairs(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.own is None:
            return softmax_all_pairs(x, self.temperature, weight, self.batch, unit=self.unit, tile=self.tile)
        index = self.own.index(x.size(0), x.device)
        lse, pull = softmax_own_rows(x, index, self.own.join, self.temperature, weight, unit=self.unit)
        return lse, torch.zeros_like(x).index_copy_(0, index, pull.to(x.dtype))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight = x.new_ones(x.size(0)) if self.row_weight is None else self.row_weight.to(x.dtype)
        lse, pull = self._pairs(x, weight)
        total = _total(weight, self.total)
        # A node that is alone has no partition function; 0 * inf would be NaN.
        value = (weight * lse).masked_fill(weight == 0, 0).sum() / total
        return value, -pull / (self.temperature * total)


def _total(row_weight: Tensor, total: float | None) -> Tensor:
    """W as a tensor, so that nothing waits for the device; never zero."""
    if total is not None:
        return row_weight.new_full((), total)
    return row_weight.sum().clamp(min=torch.finfo(row_weight.dtype).tiny)
