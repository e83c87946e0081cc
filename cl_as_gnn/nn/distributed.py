"""The processes of a distributed run as one: rows of every rank joined into those of the global minibatch.

Nothing communicates unless a process group of more than one rank is initialized. Every rank holds equally many rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """Rank of this process; 0 where nothing is distributed."""
    return dist.get_rank() if world_size() > 1 else 0


def _gather(x: Tensor) -> Tensor:
    """``(R, *x.shape)``, rank by rank."""
    x = x.contiguous()
    out = x.new_empty(world_size(), *x.shape)
    # torch 2.14 deprecates the second name.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(out.view(-1, *x.shape[1:]), x)
    return out


class _GatherViews(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, num_views: int) -> Tensor:
        ctx.num_views = num_views
        out: Tensor = _gather(x).unflatten(1, (num_views, -1)).transpose(0, 1).flatten(0, 2)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        own: Tensor = grad.unflatten(0, (ctx.num_views, world_size(), -1))[:, own_rank()].flatten(0, 1)
        # DDP averages gradients over ranks, where the global objective expects their sum.
        return own * world_size(), None


def gather_views(x: Tensor, num_views: int = 1) -> Tensor:
    r"""Views of all ranks, view-major, where only this rank's own rows carry a gradient.

    .. math::
        \text{out}_{v B + r b + s} = x^{(r)}_{v b + s}, \qquad
        \frac{\partial L}{\partial x^{(r)}_{v b + s}} = R \, \frac{\partial L}{\partial \text{out}_{v B + r b + s}},

    for rank r of R with b samples each, :math:`B = R b`. Every rank computes the loss of the global batch, so that its
    own rows' gradient needs no other rank; the factor R makes DDP's average over ranks the gradient of that loss.

    Args:
        x: ``(V·b, ...)`` of this rank, view-major.
        num_views: V; 1 for values with one row per sample (indices, labels).

    Returns:
        ``(V·B, ...)``; ``x`` itself on one rank.
    """
    if world_size() == 1:
        return x
    out: Tensor = _GatherViews.apply(x, num_views)
    return out


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _gather(x).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        own: Tensor = grad.unflatten(0, (world_size(), -1))[own_rank()]
        return own


def gather_rows(x: Tensor) -> Tensor:
    """Rows ``(m, ...)`` of every rank, rank by rank, ``(R·m, ...)``; a row's gradient is summed over all ranks.

    For layers within the network that mix the batch, whose output on every rank depends on the rows of all.
    """
    if world_size() == 1:
        return x
    out: Tensor = _GatherRows.apply(x)
    return out


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out: Tensor = _Total.apply(grad)
        return out


def total(x: Tensor) -> Tensor:
    """Sum over the ranks, whose gradient is the sum of the ranks' gradients; ``x`` itself on one rank."""
    if world_size() == 1:
        return x
    out: Tensor = _Total.apply(x)
    return out


@dataclass(frozen=True)
class LocalRows:
    """The rows that :func:`gather_views` took from this rank: the only ones whose message it needs.

    Args:
        num_views: V of the gathered features.
    """

    num_views: int

    def index(self, n: int, device: torch.device) -> Tensor:
        """Indices of the own rows among the n gathered rows, ``(n / R,)``, ascending."""
        return torch.arange(n, device=device).view(self.num_views, world_size(), -1)[:, own_rank()].flatten()

    def join(self, x: Tensor) -> Tensor:
        """Gather one value per own row to one per gathered row; no gradient."""
        return gather_views(x.detach(), self.num_views)


def local_rows(num_views: int) -> LocalRows | None:
    """This rank's share of a gathered batch; ``None`` on one rank, which owns every row."""
    return LocalRows(num_views) if world_size() > 1 else None
