from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.schema import STAGE
from cl_as_gnn.graph.transforms import sample_prototypes
from cl_as_gnn.methods.base import Batch, MemoryConfig, TargetMethod
from cl_as_gnn.nn import StageAggregation
from cl_as_gnn.nn.unit import unit_rows


class JumpingConfig(MemoryConfig):
    """Settings of every method that mixes features of earlier epochs into its targets."""

    stages: tuple[float, ...] = Field((0.5, 0.5), description="shares γ of this epoch, the previous one, …")
    start: float = Field(0.05, ge=0, le=1, description="share of the training before earlier epochs are mixed in")

    @field_validator("stages")
    @classmethod
    def _are_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 2 or value[0] <= 0 or any(share < 0 for share in value):
            raise ValueError(f"expects two or more shares, the first positive, none negative, got {list(value)}")
        return value


class JumpingMethod(TargetMethod[JumpingConfig]):
    """Base class of methods whose targets are mixed with the features of the same sample in earlier epochs."""

    def build_modules(self) -> None:
        super().build_modules()
        stages, unit = len(self.config.stages) - 1, "target" not in self.unscaled
        self.bank = SampleBank(self.num_samples, self.heads.projector_dim, stages, unit, self.config.shared)
        self.aggregate = StageAggregation(self.config.stages)

    def remembered(self, present: Tensor) -> Tensor:
        """Return what the bank keeps of each sample, ``(B, d)``: the unit mean of its views."""
        return sample_prototypes(present, self.config.num_views)

    def mix(self, stages: Tensor, known: Tensor) -> Tensor:
        """Mix stages ``(s, n, d)`` by the shares of those that are known ``(s, n)``: the targets, ``(n, d)``."""
        out: Tensor = self.aggregate(stages, known)
        return out

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        present = data["target"].x
        data["sample"].x = self.remembered(present)
        if batch.progress < self.config.start:
            data["target"].x = unit_rows(present) if self.unscaled else present
            return data
        past, seen = self.bank.read(batch.sample)
        stages = torch.cat([present.unsqueeze(0), past.repeat(1, self.config.num_views, 1)])
        known = torch.cat([torch.ones_like(seen[:1]), seen]).repeat(1, self.config.num_views)
        data["target"].x = self.mix(stages, known)
        self.join_past(data, past, known)
        return data

    def shares(self, known: Tensor) -> Tensor:
        """Return the share of each stage in each target, ``(s, n)``."""
        share = self.aggregate.weights.unsqueeze(1) * known
        return share / share.sum(0)

    def join_past(self, data: HeteroData, past: Tensor, known: Tensor) -> None:
        """Add the features of earlier epochs as nodes, with an edge to each target in which they are mixed."""
        share = self.shares(known)
        num_stages, size = past.shape[:2]
        node = torch.arange(num_stages * size, device=past.device).view(num_stages, size)
        target = torch.arange(known.size(1), device=past.device).repeat(num_stages)
        data["past"].x = past.flatten(0, 1)
        data["past"].sample = data["view"].sample[:size].repeat(num_stages)
        data[STAGE].edge_index = torch.stack([node.repeat(1, self.config.num_views).flatten(), target])
        data[STAGE].edge_weight = share[1:].flatten()

    def update_memory(self, data: HeteroData) -> None:
        size = data["sample"].x.size(0)
        self.bank.write(data["view"].sample[:size], data["sample"].x)


class JKConfig(JumpingConfig):
    name: Literal["jk"] = "jk"
    form: Literal["unit", "released"] = Field("unit", description="mix unit vectors, or vectors as they are (released)")


class JK(JumpingMethod):
    r"""SimSiam with multi-stage aggregation, `Wang et al. 2023 <https://arxiv.org/abs/2303.04435>`_.

    .. math::
        p_i' = p_i + \alpha \sum_{j \to i} \mathrm{sg}\Big( \gamma_0 z_j + \sum_{r \geq 1} \gamma_r m_s^{(r)} \Big),

    :math:`m_s^{(r)}` the unit mean of the views of sample s, r epochs ago, from a bank with one row per sample. Stages
    are normalized before they are mixed, the mixture is not: where the epochs disagree, the message is weaker. The
    others take over the share of a stage that did not see the sample. Messages flow one-way, from earlier epochs to
    targets to predictions.

    With ``form="released"``, as in the authors' code, the bank keeps the last view alone, vectors are mixed in the
    length that they have, and the mixture is normalized.
    """

    config: JKConfig

    Config = JKConfig
    attracts = "the other views and the same image in earlier epochs (jumping knowledge)"
    source = "Wang et al., ICLR 2023 (SimSiam-Multi)"

    def build_modules(self) -> None:
        if self.config.form == "released":
            self.unscaled = ("target",)
        super().build_modules()

    def remembered(self, present: Tensor) -> Tensor:
        return present.chunk(self.config.num_views)[-1] if self.unscaled else super().remembered(present)

    def mix(self, stages: Tensor, known: Tensor) -> Tensor:
        if not self.unscaled:
            return super().mix(stages, known)
        return unit_rows((self.shares(known).unsqueeze(2) * stages).sum(0))
