from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import FeatureQueue
from cl_as_gnn.graph.schema import TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.momentum import MomentumConfig, MomentumMethod
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.streaming import softmax_bipartite
from cl_as_gnn.nn.terms import Attraction, FixedRepulsion, Term


class ReSSLConfig(MomentumConfig):
    """Settings of relational self-supervised learning."""

    name: Literal["ressl"] = "ressl"
    temperature: float = Field(0.1, gt=0, le=10, description="τ of the student's row")
    target_temperature: float = Field(0.04, gt=0, le=10, description="τ of the target's row, the sharper one")
    queue_size: int = Field(1024, ge=1, description="latest targets kept as the nodes that relations are to")


class ReSSL(MomentumMethod[ReSSLConfig]):
    r"""`ReSSL <https://arxiv.org/abs/2107.09282>`_: views agree in their rows of the affinity graph to a queue.

    .. math::
        L = \frac1n \sum_i \sum_j A_{ij} \, H\big( P^t_j, P^s_i \big), \qquad
        P^s_{iu} \propto e^{x_i \cdot u / \tau_s}, \quad P^t_{ju} \propto e^{\bar z_j \cdot u / \tau_t}, \qquad
        m_i = \frac{1}{n \tau_s} \Big( \sum_j A_{ij} P^t_j - P^s_i \Big) U,

    U the queue, H the cross-entropy: attraction along the target's row, repulsion along the view's own. Both views are
    drawn from one recipe; the paper draws the target's weaker.
    """

    Config = ReSSLConfig
    attracts = "queue nodes, by the sharper affinity of the other views' momentum targets"
    repels = "queue nodes, by the view's own affinity"
    source = "Zheng et al., NeurIPS 2021 (ReSSL)"

    def __init__(self, config: ReSSLConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        size = min(config.queue_size, num_samples)
        self.queue = FeatureQueue(size, heads.projector_dim)
        self.queue.push(torch.randn(size, heads.projector_dim), torch.full((size,), -1))

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        target, n, temperature = data["target"].x, data["view"].x.size(0), self.config.temperature
        _, related, _ = softmax_bipartite(target, self.queue.features.to(target.dtype), self.config.target_temperature)
        graph = Adjacency(data[TARGET_AUGMENTATION].edge_index, num_nodes=(n, n))
        return [Attraction(graph, temperature, related), FixedRepulsion(self.queue.features, temperature)]

    def update_memory(self, data: HeteroData) -> None:
        size = data["view"].x.size(0) // self.config.num_views
        self.queue.push(data["target"].x[:size], data["view"].sample[:size])
