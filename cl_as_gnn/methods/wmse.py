from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.distributed import total, world_size
from cl_as_gnn.nn.terms import PowerAlignment, Term
from cl_as_gnn.nn.unit import unit_rows


def whiten(x: Tensor, shrink: float) -> Tensor:
    r""":math:`(x - \bar x) L^{-\top}`, :math:`L L^\top` the covariance over all ranks, shrunk to its mean variance.

    Computed in float64: the covariance of collapsed features is ill-conditioned.
    """
    count = x.size(0) * world_size()
    centered = (x - total(x.sum(0)) / count).double()
    covariance = total(centered.t() @ centered) / max(1, count - 1)
    target = covariance.diagonal().mean() * torch.eye(x.size(1), device=x.device, dtype=torch.double)
    factor, _ = torch.linalg.cholesky_ex((1 - shrink) * covariance + shrink * target)
    out: Tensor = torch.linalg.solve_triangular(factor, centered.t(), upper=False).t().to(x.dtype)
    return out


class WMSEConfig(MethodConfig):
    name: Literal["wmse"] = "wmse"
    shrink: float = Field(0.1, ge=0, lt=1, description="share of the mean variance in the covariance that is inverted")


class WMSE(Method[WMSEConfig]):
    r"""`W-MSE <https://arxiv.org/abs/2007.06346>`_: whitened views attract on the sphere.

    .. math::
        L = \mathbb{E} \lVert w_i / \lVert w_i \rVert - w_j / \lVert w_j \rVert \rVert^2, \qquad
        w = L^{-1} (z - \bar z), \;\; L L^\top = \mathrm{Cov}(z),

    with each view whitened over the whole batch (use at least two images per dimension). Whitening acts as a signed
    graph on all pairs, :math:`z^\top \mathrm{Cov}^{-1} z`, and repels without a term of its own.

    ``shrink`` draws the covariance towards its mean variance, so that the result does not depend on the scale of the
    features; the released code draws it towards the identity, by default not at all. With ``shrink=0`` the two agree.
    """

    Config = WMSEConfig
    attracts = "the other views, by squared distance on the sphere"
    repels = "nothing besides whitening: all channels kept uncorrelated, of equal variance"
    source = "Ermolov et al., ICML 2021"

    def normalize(self, z: Tensor) -> Tensor:
        parts = [whiten(part, self.config.shrink) for part in z.chunk(self.config.num_views)]
        return unit_rows(torch.cat(parts))

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [PowerAlignment(data[AUGMENTATION].edge_index)]
