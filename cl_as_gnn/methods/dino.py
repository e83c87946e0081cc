from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, MomentumConfig
from cl_as_gnn.methods.prototype_method import PrototypeConfig, PrototypeMethod
from cl_as_gnn.nn.unit import unit_rows


class DINOConfig(PrototypeConfig, MomentumConfig):
    name: Literal["dino"] = "dino"
    target_temperature: float = Field(0.04, gt=0, le=10, description="temperature τ_t of the target's softmax")
    center_momentum: float = Field(0.9, ge=0, lt=1, description="share of the earlier batches in the center")


class DINO(PrototypeMethod[DINOConfig]):
    r"""`DINO <https://arxiv.org/abs/2104.14294>`_: self-distillation as softmax edges to prototypes.

    .. math::
        L = -\frac1n \sum_i \sum_j A_{ij} \sum_k P^t_{jk} \log P_{ik}, \qquad
        P_{ik} \propto e^{x_i \cdot c_k / \tau}, \quad P^t_{jk} \propto e^{(\bar z_j \cdot \bar c_k - b_k) / \tau_t},

    :math:`\bar z` the unit projections by a momentum copy of the network, :math:`\bar c` a momentum copy of the
    prototypes, b the mean of :math:`\bar z \cdot \bar c_k` over the batches so far, with decaying weight: centering and
    the lower temperature of the targets keep the shares from one prototype and from all alike. The copy and b are part
    of the checkpoint.
    """

    Config = DINOConfig
    attracts = "prototypes, by the centered, sharper softmax of the other views' momentum targets"
    repels = "softmax over all prototypes"
    source = "Caron et al., ICCV 2021 (DINO)"

    def build_modules(self) -> None:
        super().build_modules()
        self.target_prototypes = nn.Buffer(self.prototypes.detach().clone())
        self.center = nn.Buffer(torch.zeros(self.config.num_prototypes))

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        if self.training:
            self.target_prototypes.lerp_(self.prototypes.detach(), 1 - self.momentum(batch.progress))
        return super().encode(batch)

    def similarity(self, data: HeteroData) -> Tensor:
        """Return the similarity of each target to each prototype of the copy, ``(n, K)``."""
        target = data["target"].x
        out: Tensor = target @ unit_rows(self.target_prototypes).to(target.dtype).t()
        return out

    def shares(self, data: HeteroData) -> Tensor:
        scores = self.similarity(data)
        return ((scores - self.center.to(scores.dtype)) / self.config.target_temperature).softmax(1)

    def update_memory(self, data: HeteroData) -> None:
        with torch.autocast(self.center.device.type, enabled=False):
            mean = self.similarity(data).mean(0).to(self.center.dtype)
        self.center.lerp_(mean, 1 - self.config.center_momentum)
