from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import scatter

from cl_as_gnn.nn.checks import (
    check_batch,
    check_count,
    check_flag,
    check_number,
    check_positive,
    check_width,
    check_within,
    expects,
)
from cl_as_gnn.nn.forward_mode import forward_mode
from cl_as_gnn.nn.streaming import linear_attention, pairwise_attention
from cl_as_gnn.nn.unit import unit_rows


class ContraNorm(torch.nn.Module):
    r"""Contrastive normalization, from `"ContraNorm: A Contrastive Learning Perspective on Oversmoothing and Beyond"
    <https://arxiv.org/abs/2303.06562>`_: a uniformity step on the nodes of a graph, against oversmoothing.

    .. math::
        X' = \mathrm{LayerNorm}\big( (1 + s) X - s P X \big), \qquad
        x_i' = \mathrm{LayerNorm}\Big( (1 + s) x_i - s \sum_j P_{ij} x_j \Big), \qquad
        P_{ij} = \frac{e^{\cos(x_i, x_j) / \tau}}{\sum_k e^{\cos(x_i, x_k) / \tau}},

    over all nodes of the same graph, self included: every node sends to every node, whatever the edges. The weights
    use cosines; the features sent are not normalized. No :math:`n \times n` tensor is kept.

    The released code has several forms. ``identity=True`` is the :math:`(1 + s)` of its graph and BERT models;
    ``identity=False`` is :math:`X - s P X`, the paper's Eq. 6 and its ALBERT and ViT models. Its graph models also
    leave out a node itself and its neighbors from :math:`P`; here, as in the paper, nothing is left out.

    With ``linear=True`` the kernel :math:`e^{\cos / \tau}` becomes :math:`1 + \cos / \tau`, its first-order form,
    in :math:`O(n d^2)` instead of :math:`O(n^2 d)`. At :math:`\tau = 1` the cosines barely move the softmax, and the
    whole layer is close to subtracting the mean: compare with PyG's ``MeanSubtractionNorm``.

    Args:
        in_channels: width d of the features.
        scale: :math:`s`.
        temperature: :math:`\tau > 0`; with ``linear`` at least 1, below which the weights could be negative.
        linear: use the first-order kernel.
        identity: add :math:`s X`.
        layer_norm: end with a ``LayerNorm`` of learned gain and bias, as in the paper.
        eps: eps of the ``LayerNorm``.

    Shapes:
        - **input:** features :math:`(n, d)`, graph of each node :math:`(n)`, number of graphs; or :math:`(B, n, d)`,
          B graphs of n nodes
        - **output:** like the features
    """

    def __init__(
        self,
        in_channels: int,
        scale: float = 0.1,
        temperature: float = 1.0,
        linear: bool = False,
        identity: bool = True,
        layer_norm: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        check_count("ContraNorm", in_channels=in_channels)
        check_number("ContraNorm", scale=scale)
        check_positive("ContraNorm", temperature=temperature, eps=eps)
        check_flag("ContraNorm", linear=linear, identity=identity, layer_norm=layer_norm)
        if linear and temperature < 1:
            cure = "1 + cos / temperature could be negative; use linear=False"
            raise expects("ContraNorm", "temperature", "as a number >= 1 where linear=True", temperature, cure)
        self.in_channels = in_channels
        self.scale = scale
        self.temperature = temperature
        self.linear = linear
        self.identity = identity
        self.norm = torch.nn.LayerNorm(in_channels, eps=eps) if layer_norm else None

    def reset_parameters(self) -> None:
        r"""Resets the gain and bias of the ``LayerNorm``."""
        if self.norm is not None:
            self.norm.reset_parameters()

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        if not isinstance(x, Tensor) or x.dim() < 2 or not x.is_floating_point():
            raise expects("ContraNorm", "x", "as floating-point features of shape (n, d)", x)
        check_width("ContraNorm", x, self.in_channels, cure="that is in_channels")
        if x.dim() > 2:
            if batch is not None:
                raise expects("ContraNorm", "x", "as features of shape (n, d) beside batch", x)
            graphs = x.shape[:-2].numel()
            batch = torch.arange(graphs, device=x.device).repeat_interleave(x.size(-2))
            each: Tensor = self(x.flatten(0, -2), batch, graphs).view_as(x)
            return each
        check_batch("ContraNorm", batch, x)
        check_count("ContraNorm", batch_size=batch_size, optional=True)
        if batch is not None and batch_size is not None:
            check_within("ContraNorm", "batch", batch, batch_size, "graphs", "that is batch_size")
        mean = self._linear(x, batch, batch_size) if self.linear else self._exact(x, batch)
        out = ((1 + self.scale) * x if self.identity else x) - self.scale * mean
        return out if self.norm is None else self.norm(out)

    def _exact(self, x: Tensor, batch: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            # For other layouts attention would make a copy of every pair.
            wide = (x if x.dtype == torch.float64 else x.float()).contiguous()
            unit = unit_rows(wide)
            if batch is None and x.device.type == "cpu" and not forward_mode(wide):
                # Exact in float32 and float64, and about twice as fast there as pairwise_attention.
                query, value = unit[None, None], wide[None, None]
                return F.scaled_dot_product_attention(query, query, value, scale=1 / self.temperature)[0, 0].to(x.dtype)
            return pairwise_attention(unit, unit, wide, self.temperature, loops=True, batch=batch).to(x.dtype)

    def _linear(self, x: Tensor, batch: Tensor | None, batch_size: int | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            unit = unit_rows(wide)
            if batch is None:
                count = wide.new_full((1, 1), wide.size(0))
                total, direction = wide.sum(0, keepdim=True), unit.sum(0, keepdim=True)
            else:
                both = torch.cat([wide, unit, torch.ones_like(wide[:, :1])], dim=1)
                summed = scatter(both, batch, dim_size=batch_size, reduce="sum")[batch]
                total, direction, count = summed.split([x.size(1), x.size(1), 1], dim=1)
            weighted = total + linear_attention(unit, unit, wide, batch) / self.temperature
            weight = count + (unit * direction).sum(-1, keepdim=True) / self.temperature
            return (weighted / weight).to(x.dtype)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.in_channels}, scale={self.scale}, temperature={self.temperature}, "
            f"linear={self.linear}, identity={self.identity}, layer_norm={self.norm is not None})"
        )
