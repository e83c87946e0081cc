r"""One rule for every method: terms that attract and terms that repel, each a loss value and its message.

A term maps features to ``(value, message)`` with :math:`\text{message} = -\partial\,\text{value}/\partial x`. Their sum
is the objective; :func:`objective` hands the summed message to whatever made the features, so that training by the
loss and training by the message are the same thing.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor


class Term:
    """A loss value and its message, :math:`-\\partial\\,\\text{value}/\\partial x`."""

    learned: tuple[Tensor, ...] = ()
    """Parameters of the term itself."""

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Value, message to ``x``, then one message for each of ``learned``."""
        raise NotImplementedError


class PrecomputedGrad(torch.autograd.Function):
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
    out: Tensor = PrecomputedGrad.apply(value, x, *learned, message, *extra)
    return out


def total_weight(row_weight: Tensor, total: float | None) -> Tensor:
    """W as a tensor, so that nothing waits for the device; never zero."""
    if total is not None:
        return row_weight.new_full((), total)
    return row_weight.sum().clamp(min=torch.finfo(row_weight.dtype).tiny)
