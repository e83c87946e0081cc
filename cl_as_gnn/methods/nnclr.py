from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import FeatureQueue
from cl_as_gnn.methods.base import Batch, SoftmaxConfig
from cl_as_gnn.methods.simsiam import StopGradientMethod
from cl_as_gnn.nn.terms import AnchorContrast, Term


class NNCLRConfig(SoftmaxConfig):
    """Settings of NNCLR."""

    name: Literal["nnclr"] = "nnclr"
    queue_size: int = Field(1024, ge=1, description="latest projections kept as the support of neighbours")
    start: float = Field(0.0, ge=0, le=1, description="share of the training before neighbours replace projections")


class NNCLR(StopGradientMethod[NNCLRConfig]):
    r"""`NNCLR <https://arxiv.org/abs/2104.14548>`_ as published: a projection's neighbour picks a prediction.

    .. math::
        L = -\frac1n \sum_{a \neq b} \sum_i
            \log \frac{e^{\mathrm{NN}(z^a_i) \cdot p^b_i / \tau}}{\sum_k e^{\mathrm{NN}(z^a_i) \cdot p^b_k / \tau}},

    :math:`\mathrm{NN}` the nearest row of a queue of projections; predictions alone get messages. ``nn_positives`` is
    the same edge in the rule of SimCLR, without a predictor. A projection without a known
    neighbour stands for itself.
    """

    Config = NNCLRConfig
    attracts = "the nearest neighbour, in a queue, of the other view's projection (one-way edges)"
    repels = "softmax from each neighbour over the other view's predictions"
    source = "Dwibedi et al., ICCV 2021"

    def __init__(self, config: NNCLRConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.queue = FeatureQueue(min(config.queue_size, num_samples), heads.projector_dim)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        z = data["target"].x
        data["neighbour"].x = z
        if batch.progress >= self.config.start:
            near, _, sample = self.queue.nearest(z)
            data["neighbour"].x = torch.where(sample >= 0, near.squeeze(1).to(z.dtype), z)
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [AnchorContrast(data["neighbour"].x, self.config.temperature, self.config.num_views)]

    def update_memory(self, data: HeteroData) -> None:
        size = data["view"].x.size(0) // self.config.num_views
        self.queue.push(data["target"].x[:size], data["view"].sample[:size])
