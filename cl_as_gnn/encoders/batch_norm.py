"""Batch normalization by the statistics of the global batch, on any number of ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cl_as_gnn.nn.distributed import gather_rows, world_size


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _column(x: Tensor, like: Tensor) -> Tensor:
    return x.view(-1, *[1] * (like.dim() - 2))


class _GlobalNorm(torch.autograd.Function):
    """Normalized input, mean and biased variance of the global batch; all ranks hold equally many values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        ctx.dims = [0, *range(2, x.dim())]
        var, mean = torch.var_mean(_wide(x), ctx.dims, correction=0)
        means, variances = gather_rows(torch.stack([mean, var]).unsqueeze(0)).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + means.var(0, correction=0)
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps), mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        wide = _wide(grad)
        unit = (_wide(x) - _column(mean, x)) * _column(scale, x)
        sums = torch.stack([wide.sum(ctx.dims), (wide * unit).sum(ctx.dims)])
        # DDP sums the gradients of scale and shift over the ranks, as for every other parameter.
        to_bias, to_weight = sums if weight is not None else (None, None)
        joined = sums.clone()
        dist.all_reduce(joined)
        shift, slope = joined * (mean.numel() / (x.numel() * world_size()))
        factor = scale if weight is None else scale * weight
        out = (wide - _column(shift, x) - unit * _column(slope, x)) * _column(factor, x)
        return out.to(x.dtype), to_weight, to_bias, None


def standardize(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale each channel of ``(n, C)`` to mean 0 and variance 1 over the rows of all ranks."""
    if world_size() == 1:
        return F.batch_norm(x, None, None, training=True, eps=eps)
    out: Tensor = _GlobalNorm.apply(x, None, None, eps)[0]
    return out


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            out: Tensor = super().forward(x)
            return out
        out, mean, var = _GlobalNorm.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = world_size() * x.numel() / mean.numel()
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.lerp_((var * (count / max(1.0, count - 1))).to(self.running_var.dtype), share)
        return out


class BatchNorm1d(_GlobalBatchNorm, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` whose training statistics, and their gradients, are those of the batches of all ranks.

    torch's ``SyncBatchNorm`` runs on GPUs only and expects parameters, where a momentum copy has buffers. On one rank,
    and in eval mode, this is ``nn.BatchNorm1d``.
    """


class BatchNorm2d(_GlobalBatchNorm, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` in the same way: see :class:`BatchNorm1d`."""


def synchronize(network: nn.Module) -> None:
    """Let the batch normalization of a network of another package use the statistics of all ranks, in place.

    Only the class of the layers changes: parameters, statistics and, on one rank, numbers stay.
    """
    for layer in network.modules():
        kind = type(layer)
        if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
            layer.__class__ = BatchNorm1d if kind is nn.BatchNorm1d else BatchNorm2d
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(layer, _GlobalBatchNorm):
            layer.__class__ = type(kind.__name__, (_GlobalBatchNormAct, kind), {})


class _GlobalBatchNormAct(_GlobalBatchNorm):
    """Before a subclass of batch normalization that may drop and activate its output, as timm's ``BatchNormAct2d``."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if not self.training or world_size() == 1:
            return out
        for name in ("drop", "act"):
            out = getattr(self, name, nn.Identity())(out)
        return out
