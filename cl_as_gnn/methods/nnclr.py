from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import REWIRED, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, QueueMethod, SoftmaxConfig, TargetMethod
from cl_as_gnn.methods.lookup import LookupConfig
from cl_as_gnn.nn.terms import AnchorContrast, Term


class NNCLRConfig(SoftmaxConfig, LookupConfig):
    name: Literal["nnclr"] = "nnclr"
    start: float = Field(0.0, ge=0, le=1, description="share of the training before neighbors replace projections")


class NNCLR(QueueMethod[NNCLRConfig], TargetMethod[NNCLRConfig]):
    r"""`NNCLR <https://arxiv.org/abs/2104.14548>`_ as published: neighbors of projections attract predictions.

    .. math::
        L = -\frac1n \sum_{a \neq b} \sum_i
            \log \frac{e^{\mathrm{NN}(z^a_i) \cdot p^b_i / \tau}}{\sum_k e^{\mathrm{NN}(z^a_i) \cdot p^b_k / \tau}},

    :math:`\mathrm{NN}` the nearest row of a queue of projections, or the projection itself while the queue is empty.
    Messages flow one-way, from neighbors to predictions. ``nn_positives`` uses the same edges in SimCLR's rule.
    """

    Config = NNCLRConfig
    attracts = "the nearest neighbor, in a queue, of the other view's projection (one-way edges)"
    repels = "softmax from each neighbor over the other view's predictions"
    source = "Dwibedi et al., ICCV 2021"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        z, neighbor, edges = data["target"].x, data["neighbour"], data[TARGET_AUGMENTATION].edge_index
        neighbor.x, neighbor.sample = z, data["view"].sample
        if batch.progress >= self.config.start:
            near, _, sample = self.queue.nearest(z)
            neighbor.x = torch.where(sample >= 0, near.squeeze(1).to(z.dtype), z)
            neighbor.sample = torch.where(sample >= 0, sample, neighbor.sample.unsqueeze(1)).squeeze(1)
        data[REWIRED].edge_index = edges
        data[REWIRED].edge_weight = z.new_full((edges.size(1),), 1 / (self.config.num_views - 1))
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [AnchorContrast(data["neighbour"].x, self.config.temperature, self.config.num_views)]
