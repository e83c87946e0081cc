from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import SampleAffinity, view_agreement
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import sample_prototypes
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod, adjacency_of
from cl_as_gnn.nn.operators import Diffusion, LiftToViews, LinearOperator, Mixture


class DiffusionConfig(SoftmaxConfig):
    """Settings of every method that diffuses along affinity edges between samples."""

    weight: float = Field(0.8, ge=0, le=1, description="share λ of the attraction that goes to diffused neighbors")
    k: int = Field(5, ge=1, description="nearest neighbors per sample in the affinity graph")
    num_hops: int = Field(4, ge=1, le=16, description="number of hops of the diffusion")
    affinity_temperature: float = Field(0.2, gt=0, description="temperature of the row softmax over the k neighbors")
    gate: float = Field(0.3, ge=0, le=1, description="λ is 0 below this agreement of views and full above 4/3 of it")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before affinity edges are added")


class DiffusionMethod(SoftmaxMethod[DiffusionConfig]):
    """Base class of methods that attract along augmentation edges and, diffused, affinity edges of samples."""

    neighbors_from = "batch"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.progress < self.config.start:
            return data
        return SampleAffinity(self.config.k, self.config.affinity_temperature)(data)

    def join(self, data: HeteroData, edge_index: Tensor, edge_weight: Tensor) -> HeteroData:
        """Add affinity edges between samples, and the agreement on which the gate depends."""
        x, num_views = data["view"].x, self.config.num_views
        data["sample"].x = sample_prototypes(x, num_views)
        edges = data[SAMPLE_AFFINITY]
        edges.edge_index, edges.edge_weight = edge_index, edge_weight
        if self.config.gate > 0:
            edges.agreement = view_agreement(x, num_views, self.config.k)
        return data

    def diffuse(self, data: HeteroData) -> LinearOperator:
        """Return T, from the affinity edges of the samples."""
        return Diffusion(adjacency_of(data, SAMPLE_AFFINITY), self.config.num_hops)

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        augmentation = super().attract(data, batch)
        if "sample" not in data.node_types:
            return augmentation
        diffused = LiftToViews(self.diffuse(data), self.config.num_views)
        return Mixture(augmentation, diffused, self.config.weight * self.opening(data))

    def opening(self, data: HeteroData) -> float | Tensor:
        """Return how far the gate is open, from 0 to 1."""
        if self.config.gate == 0:
            return 1.0
        agreement: Tensor = data[SAMPLE_AFFINITY].agreement
        return (3 * agreement / self.config.gate - 3).clamp(0, 1)


class GCNConfig(DiffusionConfig):
    name: Literal["gcn"] = "gcn"
    agreed: bool = Field(True, description="keep only edges that every view finds, and open the gate by majority")
    gate: float = Field(0.5, ge=0, le=1, description="λ is 0 below this agreement of views and full a tenth above it")


class GCN(DiffusionMethod):
    r"""Multi-hop GCN diffusion over augmentation and kNN affinity edges attracts, the complete graph repels.

    .. math::
        A = (1 - \lambda) A_{\text{aug}} + \lambda \, \tfrac1V \mathbf{1}\mathbf{1}^\top \otimes T, \qquad
        T = N (W^L - \mathrm{diag} W^L),

    :math:`W` the row softmax of cosine similarity over those of the k nearest samples of the batch (by the mean of
    their views) that each view alone finds, too; :math:`N` the normalization of rows. A sample without such an edge
    attracts to its own views only. A gate sets :math:`\lambda` per batch, without labels:
    :math:`\lambda_{\max} \, \mathrm{clip}(10 a / \text{gate} - 10, 0, 1)`, a the agreement between the nearest
    neighbors found from two views (0: chance, 1: the same; :func:`cl_as_gnn.graph.view_agreement`). It opens where most
    neighbors are the same; elsewhere the method is SimCLR. The message is the gradient of the cross-entropy between the
    rows of :math:`A` and the softmax.

    With ``agreed=False`` all k edges count, and the gate opens along
    :math:`\mathrm{clip}(3 a / \text{gate} - 3, 0, 1)`; with ``gate=0.3`` that is the default of versions before 0.3.
    """

    config: GCNConfig
    Config = GCNConfig
    attracts = "L-hop diffusion over augmentation and kNN affinity edges (multi-hop GCN)"
    source = "this package; the diffusion of SGC and GDC applied to InfoNCE"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.progress < self.config.start:
            return data
        return SampleAffinity(self.config.k, self.config.affinity_temperature, self.config.agreed)(data)

    def opening(self, data: HeteroData) -> float | Tensor:
        if not self.config.agreed or self.config.gate == 0:
            return super().opening(data)
        agreement: Tensor = data[SAMPLE_AFFINITY].agreement
        return (10 * agreement / self.config.gate - 10).clamp(0, 1)
