from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, MomentumConfig, QueueConfig, QueueMethod, TargetMethod
from cl_as_gnn.nn.streaming import softmax_over_keys
from cl_as_gnn.nn.terms import Attraction, BipartiteRepulsion, Term


class ReSSLConfig(MomentumConfig, QueueConfig):
    name: Literal["ressl"] = "ressl"
    temperature: float = Field(0.1, gt=0, le=10, description="temperature τ_s of the view's row")
    target_temperature: float = Field(0.04, gt=0, le=10, description="temperature τ_t of the target's row, below τ_s")


class ReSSL(QueueMethod[ReSSLConfig], TargetMethod[ReSSLConfig]):
    r"""`ReSSL <https://arxiv.org/abs/2107.09282>`_: views agree in their rows of the affinity graph to a queue.

    .. math::
        L = \frac1n \sum_i \sum_j A_{ij} \, H\big( P^t_j, P^s_i \big), \qquad
        P^s_{iu} \propto e^{x_i \cdot u / \tau_s}, \quad P^t_{ju} \propto e^{\bar z_j \cdot u / \tau_t}, \qquad
        m_i = \frac{1}{n \tau_s} \Big( \sum_j A_{ij} P^t_j - P^s_i \Big) U,

    U the queue, H the cross-entropy: each view attracts along the row of its targets and repels along its own row. All
    views share one augmentation recipe; the paper uses a weaker one for targets.
    """

    Config = ReSSLConfig
    attracts = "queue nodes, by the sharper affinity of the other views' momentum targets"
    repels = "queue nodes, by the view's own affinity"
    source = "Zheng et al., NeurIPS 2021 (ReSSL)"
    has_predictor = False
    projector_norm = None
    random_start = True

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        config, target, queue = self.config, data["target"].x, data["queue"].x
        related = softmax_over_keys(target, queue, config.target_temperature, shared=config.shared)[1]
        return [
            Attraction(self.attract(data, batch), config.temperature, related),
            BipartiteRepulsion(queue, config.temperature, shared=config.shared),
        ]
