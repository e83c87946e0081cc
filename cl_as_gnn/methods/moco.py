from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import FeatureQueue
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.momentum import MomentumConfig, MomentumMethod
from cl_as_gnn.nn.terms import QueueContrast, Term


class MoCoConfig(MomentumConfig):
    """Settings of MoCo."""

    name: Literal["moco"] = "moco"
    temperature: float = Field(0.2, gt=0, le=10, description="τ of the softmax over key and queue")
    queue_size: int = Field(1024, ge=1, description="latest keys kept as negatives")


class MoCo(MomentumMethod[MoCoConfig]):
    r"""`MoCo <https://arxiv.org/abs/1911.05722>`_: one key attracts, a queue of earlier keys repels.

    .. math::
        L = -\frac1n \sum_i \log \frac{e^{q_i \cdot k_i / \tau}}
            {e^{q_i \cdot k_i / \tau} + \sum_{u \in \text{queue}} e^{q_i \cdot u / \tau}},

    every view a query (the symmetric form), keys from a momentum copy, messages one-way. The queue starts random.
    """

    Config = MoCoConfig
    attracts = "the momentum keys of the other views, one-way"
    repels = "softmax over a queue of earlier keys, one-way"
    source = "He et al., CVPR 2020"

    def __init__(self, config: MoCoConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        size = min(config.queue_size, num_samples)
        self.queue = FeatureQueue(size, heads.projector_dim)
        self.queue.push(torch.randn(size, heads.projector_dim), torch.full((size,), -1))

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [QueueContrast(self.keys(data), self.queue.features, self.config.temperature)]

    def update_memory(self, data: HeteroData) -> None:
        size = data["view"].x.size(0) // self.config.num_views
        self.queue.push(data["target"].x[:size], data["view"].sample[:size])
