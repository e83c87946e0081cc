from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, MomentumConfig, TargetMethod
from cl_as_gnn.nn.terms import MomentRepulsion, Term


class TiCoConfig(MomentumConfig):
    name: Literal["tico"] = "tico"
    rho: float = Field(8.0, ge=0, description="ρ of the repulsion along the second moment of the features")
    decay: float = Field(0.9, ge=0, lt=1, description="β of the moment: share of the earlier batches")


class TiCo(TargetMethod[TiCoConfig]):
    r"""`TiCo <https://arxiv.org/abs/2206.10698>`_: momentum targets attract, all nodes so far repel.

    .. math::
        L = -\frac1n \sum_i \sum_j A_{ij} \, x_i \cdot \bar z_j + \frac{\rho}{n} \sum_i x_i^\top C_t \, x_i, \qquad
        C_t = \beta \, C_{t - 1} + (1 - \beta) \, \tfrac1n X^\top X,

    less the constant 1. :math:`C_t` is held fixed: :math:`C_t x_i` is the sum over the nodes of this batch and of all
    earlier ones, with decaying weight, of their inner product with :math:`x_i` times themselves, as in ``spectral``. It
    starts at zero and is part of the checkpoint.
    """

    Config = TiCoConfig
    attracts = "the other views' projections by a momentum copy of the network, one-way"
    repels = "linear attention x·xᵀ over the nodes of this batch and of all earlier ones, with decaying weight"
    source = "Zhu et al. 2022 (TiCo)"
    has_predictor = False
    projector_norm = None

    def build_modules(self) -> None:
        super().build_modules()
        self.moment = nn.Buffer(torch.zeros(self.heads.projector_dim, self.heads.projector_dim))

    def current_moment(self, x: Tensor) -> Tensor:
        """Return C of this batch of nodes, ``(d, d)``."""
        x = x.detach()
        with torch.autocast(x.device.type, enabled=False):
            return torch.lerp(x.t() @ x / len(x), self.moment.to(x.dtype), self.config.decay)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [*super().terms(data, batch), MomentRepulsion(self.current_moment(data["view"].x), self.config.rho)]

    def update_memory(self, data: HeteroData) -> None:
        self.moment.copy_(self.current_moment(data["view"].x))
