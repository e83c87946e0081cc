from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import FeatureQueue
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.momentum import MomentumConfig, PredictiveMethod


class MeanShiftConfig(MomentumConfig):
    """Settings of mean shift."""

    name: Literal["meanshift"] = "meanshift"
    queue_size: int = Field(1024, ge=1, description="latest targets kept as the support of neighbours")
    k: int = Field(5, ge=1, description="positives of each target: itself and its k-1 nearest in the bank")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before neighbours join")


class MeanShift(PredictiveMethod[MeanShiftConfig]):
    r"""`Mean shift (MSF) <https://arxiv.org/abs/2105.07269>`_: BYOL to the target's nearest neighbours.

    .. math::
        L = -\frac1n \sum_i q_i \cdot \sum_j A_{ij} \, \frac1k \sum_{u \in \mathrm{NN}_k(\bar z_j)} u,

    :math:`\mathrm{NN}_k` the target itself and its nearest in a bank of earlier targets (no more than there are).
    """

    Config = MeanShiftConfig
    attracts = "the k nearest neighbours, in a bank, of the other views' momentum targets, one-way"
    source = "Koohpayegani et al., ICCV 2021 (MSF)"

    def __init__(self, config: MeanShiftConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        size = max(config.k - 1, min(config.queue_size, num_samples), 1)
        self.bank = FeatureQueue(size, heads.projector_dim)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        data["present"].x = present = data["target"].x
        if self.config.k > 1 and batch.progress >= self.config.start:
            near, _, sample = self.bank.nearest(present, self.config.k - 1)
            known = sample >= 0
            share = known.to(present.dtype).unsqueeze(2)
            data["target"].x = (present + (share * near.to(present.dtype)).sum(1)) / (1 + share.sum(1))
        return data

    def update_memory(self, data: HeteroData) -> None:
        size = data["view"].x.size(0) // self.config.num_views
        self.bank.push(data["present"].x[:size], data["view"].sample[:size])
