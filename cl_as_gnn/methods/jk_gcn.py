from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import SampleAffinity, view_graph
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, adjacency_of
from cl_as_gnn.methods.jk import JumpingConfig, JumpingMethod
from cl_as_gnn.nn.operators import Diffusion, LiftToViews, LinearOperator, Mixture


class JKGCNConfig(JumpingConfig):
    name: Literal["jk_gcn"] = "jk_gcn"
    weight: float = Field(0.5, ge=0, le=1, description="share λ of the attraction that goes to diffused neighbors")
    k: int = Field(5, ge=1, description="nearest neighbors per sample in the affinity graph")
    num_hops: int = Field(4, ge=1, le=16, description="number of hops of the diffusion")
    affinity_temperature: float = Field(0.2, gt=0, description="temperature of the row softmax over the k neighbors")
    affinity_start: float = Field(0.25, ge=0, le=1, description="share of the training before neighbors are added")


class JKGCN(JumpingMethod):
    r"""``jk`` and ``gcn`` together: predictions attract to targets of earlier epochs and of diffused neighbors.

    .. math::
        p_i' = p_i + \alpha \sum_j \Big( (1 - \lambda) A_{\text{aug}}
            + \lambda \, \tfrac1V \mathbf{1}\mathbf{1}^\top \otimes T \Big)_{ij} \,
            \mathrm{sg}\Big( \gamma_0 z_j + \sum_{r \geq 1} \gamma_r m_s^{(r)} \Big),

    T the diffusion of ``gcn`` over the kNN graph of the mixed targets. Messages flow one-way, to predictions.
    """

    config: JKGCNConfig
    Config = JKGCNConfig
    neighbors_from = "batch"
    attracts = "the other views, diffused kNN neighbors, and both in earlier epochs, one-way"
    source = "this package; SimSiam-Multi with the diffusion of gcn"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        data = super().rewire(data, batch)
        if batch.progress >= self.config.affinity_start:
            affinity = SampleAffinity(self.config.k, self.config.affinity_temperature)
            found = affinity(view_graph(data["target"].x, self.config.num_views))[SAMPLE_AFFINITY]
            data[SAMPLE_AFFINITY].edge_index, data[SAMPLE_AFFINITY].edge_weight = found.edge_index, found.edge_weight
            edges, share = data[TARGET_AUGMENTATION], 1 / (self.config.num_views - 1)
            edges.edge_weight = data["view"].x.new_full((edges.edge_index.size(1),), share)
        return data

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        augmentation = super().attract(data, batch)
        if SAMPLE_AFFINITY not in data.edge_types:
            return augmentation
        diffused = Diffusion(adjacency_of(data, SAMPLE_AFFINITY), self.config.num_hops)
        return Mixture(augmentation, LiftToViews(diffused, self.config.num_views), self.config.weight)
