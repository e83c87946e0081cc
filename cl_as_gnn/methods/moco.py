from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, MomentumConfig, QueueConfig, QueueMethod, TargetMethod
from cl_as_gnn.nn.terms import QueueContrast, Term


class MoCoConfig(MomentumConfig, QueueConfig):
    name: Literal["moco"] = "moco"
    temperature: float = Field(0.2, gt=0, le=10, description="temperature τ of the softmax over key and queue")


class MoCo(QueueMethod[MoCoConfig], TargetMethod[MoCoConfig]):
    r"""`MoCo <https://arxiv.org/abs/1911.05722>`_: the key of a positive attracts, a queue of earlier keys repels.

    .. math::
        L = -\frac1n \sum_i \log \frac{e^{q_i \cdot k_i / \tau}}
            {e^{q_i \cdot k_i / \tau} + \sum_{u \in \text{queue}} e^{q_i \cdot u / \tau}},

    where every view is a query (the symmetric form) and a momentum copy of the network computes the keys. Messages flow
    one-way, from keys to queries. The queue starts with random keys.
    """

    Config = MoCoConfig
    attracts = "the momentum keys of the other views, one-way"
    repels = "softmax over a queue of earlier keys, one-way"
    source = "He et al., CVPR 2020"
    has_predictor = False
    projector_norm = None
    random_start = True

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        target, num_views = data["target"].x, self.config.num_views
        size = target.size(0) // num_views
        keys = torch.stack([target.roll(-shift * size, 0) for shift in range(1, num_views)])
        return [QueueContrast(keys, data["queue"].x, self.config.temperature)]
