from __future__ import annotations

from typing import Literal, TypeVar

import torch
from pydantic import Field, field_validator
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig, MethodConfig
from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.transforms import sample_prototypes
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.simsiam import StopGradientMethod
from cl_as_gnn.nn import StageAggregation


class JumpingConfig(MethodConfig):
    """Settings of every method whose targets reach back over epochs."""

    stages: tuple[float, ...] = Field((0.5, 0.5), description="shares γ of this epoch, the last, the one before, …")
    start: float = Field(0.05, ge=0, le=1, description="share of the training before earlier stages join")

    @field_validator("stages")
    @classmethod
    def _are_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 2 or value[0] <= 0 or any(share < 0 for share in value):
            raise ValueError(f"expects two or more shares, the first positive, none negative, got {list(value)}")
        return value


JumpingConfigT = TypeVar("JumpingConfigT", bound=JumpingConfig)


class JumpingMethod(StopGradientMethod[JumpingConfigT]):
    """Methods whose targets are mixed with what the same image gave in earlier epochs."""

    def __init__(self, config: JumpingConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.bank = SampleBank(num_samples, heads.projector_dim, len(config.stages) - 1)
        self.aggregate = StageAggregation(config.stages)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        present = data["target"].x
        data["sample"].x = sample_prototypes(present, self.config.num_views)
        if batch.progress < self.config.start:
            return data
        past, seen = self.bank.read(batch.sample)
        stages = torch.cat([present.unsqueeze(0), past.repeat(1, self.config.num_views, 1)])
        known = torch.cat([torch.ones_like(seen[:1]), seen]).repeat(1, self.config.num_views)
        data["target"].x = self.aggregate(stages, known)
        return data

    def update_memory(self, data: HeteroData) -> None:
        size = data["sample"].x.size(0)
        self.bank.write(data["view"].sample[:size], data["sample"].x)


class JKConfig(JumpingConfig):
    """Settings of jumping knowledge over epochs."""

    name: Literal["jk"] = "jk"


class JK(JumpingMethod[JKConfig]):
    r"""SimSiam with multi-stage aggregation, `Wang et al. 2023 <https://arxiv.org/abs/2303.04435>`_.

    .. math::
        p_i' = p_i + \alpha \sum_{j \to i} \mathrm{sg}\Big( \gamma_0 z_j + \sum_{r \geq 1} \gamma_r m_s^{(r)} \Big),

    :math:`m_s^{(r)}` the unit features (mean over the views) that sample s had r epochs ago, kept in a bank with a row
    a sample. Every stage is normalized before it is mixed; a sample not seen r epochs ago leaves its share to the rest.
    """

    Config = JKConfig
    attracts = "the other views and the same image in earlier epochs (jumping knowledge)"
    source = "Wang et al., ICLR 2023 (SimSiam-Multi)"
