from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import REWIRED, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, SoftmaxConfig
from cl_as_gnn.methods.queue import QueueConfig, QueueMethod
from cl_as_gnn.methods.target import TargetMethod
from cl_as_gnn.nn.terms import AnchorContrast, Term


class NNCLRConfig(SoftmaxConfig, QueueConfig):
    name: Literal["nnclr"] = "nnclr"
    start: float = Field(0.0, ge=0, le=1, description="share of the training before neighbours replace projections")


class NNCLR(QueueMethod[NNCLRConfig], TargetMethod[NNCLRConfig]):
    r"""`NNCLR <https://arxiv.org/abs/2104.14548>`_ as published: neighbours of projections attract predictions.

    .. math::
        L = -\frac1n \sum_{a \neq b} \sum_i
            \log \frac{e^{\mathrm{NN}(z^a_i) \cdot p^b_i / \tau}}{\sum_k e^{\mathrm{NN}(z^a_i) \cdot p^b_k / \tau}},

    :math:`\mathrm{NN}` the nearest row of a queue of projections, or the projection itself while the queue is empty.
    Messages flow one-way, from neighbours to predictions. ``nn_positives`` has the same edges in the rule of SimCLR,
    without a predictor.
    """

    Config = NNCLRConfig
    attracts = "the nearest neighbour, in a queue, of the other view's projection (one-way edges)"
    repels = "softmax from each neighbour over the other view's predictions"
    source = "Dwibedi et al., ICCV 2021"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        z, neighbour, edges = data["target"].x, data["neighbour"], data[TARGET_AUGMENTATION].edge_index
        neighbour.x, neighbour.sample = z, data["view"].sample
        if batch.progress >= self.config.start:
            near, _, sample = self.queue.nearest(z)
            neighbour.x = torch.where(sample >= 0, near.squeeze(1).to(z.dtype), z)
            neighbour.sample = torch.where(sample >= 0, sample, neighbour.sample.unsqueeze(1)).squeeze(1)
        data[REWIRED].edge_index = edges
        data[REWIRED].edge_weight = z.new_full((edges.size(1),), 1 / (self.config.num_views - 1))
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [AnchorContrast(data["neighbour"].x, self.config.temperature, self.config.num_views)]
