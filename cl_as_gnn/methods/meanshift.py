from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import TARGET_NEIGHBOR
from cl_as_gnn.methods.base import Batch, MomentumConfig, QueueMethod, TargetMethod
from cl_as_gnn.methods.lookup import LookupConfig


class MeanShiftConfig(MomentumConfig, LookupConfig):
    name: Literal["meanshift"] = "meanshift"
    k: int = Field(5, ge=1, description="positives per target: the target itself and its k - 1 nearest in the queue")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before neighbors are added")


class MeanShift(QueueMethod[MeanShiftConfig], TargetMethod[MeanShiftConfig]):
    r"""`Mean shift (MSF) <https://arxiv.org/abs/2105.07269>`_: BYOL whose targets are means over nearest neighbors.

    .. math::
        L = -\frac1n \sum_i q_i \cdot \sum_j A_{ij} \, \frac1k \sum_{u \in \mathrm{NN}_k(\bar z_j)} u,

    :math:`\mathrm{NN}_k` the target and its k − 1 nearest in a queue of earlier targets (fewer while the queue fills).
    Messages flow one-way, from neighbors to targets to predictions.
    """

    Config = MeanShiftConfig
    attracts = "the k nearest neighbors, in a queue, of the other views' momentum targets, one-way"
    repels = "nothing (predictor and momentum target prevent collapse)"
    source = "Koohpayegani et al., ICCV 2021 (MSF)"
    queued = ("target", "present")

    def queue_rows(self) -> int:
        return max(self.config.k - 1, super().queue_rows())

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        target, num_near = data["target"], self.config.k - 1
        target.present = present = target.x
        if num_near and batch.progress >= self.config.start:
            near, _, sample = self.queue.nearest(present, num_near)
            share = (sample >= 0).to(present.dtype).unsqueeze(2)
            target.x = (present + (share * near.to(present.dtype)).sum(1)) / (1 + share.sum(1))
            node = torch.arange(sample.numel(), device=present.device)
            data["neighbour"].x, data["neighbour"].sample = near.flatten(0, 1), sample.flatten()
            data[TARGET_NEIGHBOR].edge_index = torch.stack([node, node // num_near])
            data[TARGET_NEIGHBOR].edge_weight = (share / (1 + share.sum(1, keepdim=True))).flatten()
        return data
