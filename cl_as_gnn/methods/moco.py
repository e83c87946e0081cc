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
    """`MoCo <https://arxiv.org/abs/1911.05722>`_: the key of a positive attracts, a queue of earlier keys repels.

    The loss is that of :class:`~cl_as_gnn.nn.terms.QueueContrast`. Every view is a query (the symmetric form), and a
    momentum copy of the network computes the keys. Messages flow one-way, from keys to queries.
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
        return [QueueContrast(keys, data["queue"].x, self.config.temperature, shared=self.config.shared)]
