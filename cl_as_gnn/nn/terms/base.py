"""The objective of a method: a sum of terms that attract and terms that repel."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from functools import reduce
from operator import add
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_as_gnn.nn.exact import exact_products


class Term(ABC):
    r"""Base class of terms: a loss value and its message :math:`-\partial\,\text{value}/\partial x`.

    A method's objective is a sum of terms. :func:`objective` sends the summed message to the layers that computed the
    features: training by the loss and by the message are the same. It calls terms without autograd and autocast. A
    subclass implements :meth:`__call__`; a law test compares its message with the gradient of its value.
    """

    autocast: ClassVar[bool] = False
    """Whether the term runs under the caller's autocast and chooses the precision of its products itself."""

    learned: tuple[Tensor, ...] = ()
    """Parameters of the term, which receive messages of their own."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the value (a scalar), the message to ``x`` ``(n, d)``, and one message to each of ``learned``.

        ``x`` is detached, contiguous, and float32 or float64. The term must not write to it, and returns new tensors.
        """


def term_types(base: type[Term] = Term) -> Iterator[type[Term]]:
    """Yield every term class that has been defined, except abstract ones."""
    for kind in base.__subclasses__():
        if not inspect.isabstract(kind):
            yield kind
        yield from term_types(kind)


class PrecomputedGrad(torch.autograd.Function):
    """The identity on a loss value; the gradient to each input is minus the message computed for it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *inputs_and_messages: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs_and_messages[len(inputs_and_messages) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "the gradient of a contrastive objective is a precomputed constant, and differentiating it again "
                "would be silently wrong: call backward or autograd.grad without create_graph=True"
            )
        messages = ctx.saved_tensors
        back = -grad
        return (None, *[message * back for message in messages], *[None] * len(messages))


def objective(x: Tensor, *terms: Term) -> Tensor:
    """Sum the values of the terms at ``x`` ``(n, d)``; ``backward`` sends minus the sum of their messages to ``x``.

    Half precision is computed in float32. Parameters in a term's ``learned`` receive their messages too.
    """
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    features = x.detach().contiguous()
    cast = torch.is_autocast_enabled(x.device.type)
    parts = []
    with torch.no_grad(), exact_products(x.device):
        for term in terms:
            with torch.autocast(x.device.type, enabled=False) if cast and not term.autocast else nullcontext():
                parts.append(term(features))
        value = reduce(add, (part[0] for part in parts))
        message = reduce(Tensor.add_, (part[1] for part in parts))
    learned = [parameter for term in terms for parameter in term.learned]
    extra = [message for part in parts for message in part[2:]]
    out: Tensor = PrecomputedGrad.apply(value, x, *learned, message, *extra)
    return out


Source = Tensor | int | None


def ends(x: Tensor, source: Source) -> tuple[Tensor, Tensor]:
    """Return sources and targets of a term: ``source`` is a fixed matrix, the number of leading rows of ``x`` that are
    sources, or ``None`` if all rows are both."""
    if source is None:
        return x, x
    return (source.detach().to(x.dtype), x) if isinstance(source, Tensor) else (x[:source], x[source:])


def total_weight(row_weight: Tensor) -> Tensor:
    """Return the sum of the weights, never zero, as a tensor: the host does not wait for the device."""
    return row_weight.sum().clamp(min=torch.finfo(row_weight.dtype).tiny)
