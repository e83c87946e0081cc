from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import degree

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod, adjacency_of
from cl_as_gnn.nn.operators import LiftToViews, LinearOperator, Mixture


class NCLConfig(SoftmaxConfig):
    name: Literal["ncl"] = "ncl"
    weight: float = Field(0.5, ge=0, le=1, description="share λ of the attraction that goes to neighbors in the graph")


class NCL(SoftmaxMethod[NCLConfig]):
    r"""Neighbor contrastive learning: every node attracts its other views, and its neighbors in the graph.

    .. math::
        A = (1 - \lambda) A_{\text{aug}} + \lambda \, \tfrac1V \mathbf{1}\mathbf{1}^\top \otimes D^{-1} E, \qquad
        L = -\tfrac1n \sum_{ij} A_{ij}
            \log \frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \neq i} e^{x_i \cdot x_k / \tau}},

    E the edges of the uncorrupted graph between nodes of the batch, D its in-degrees. A node without incoming edges
    attracts to its own views only. ``simclr`` on nodes (GRACE) repels neighbors, which the encoder's convolution draws
    together; here they are positives, in all V views. `NCLA <https://arxiv.org/abs/2301.01404>`_ has the same positives
    and learns its views; Local-GCL has neighbors but no views. The mean is outside the logarithm, as in SupCon.
    """

    Config = NCLConfig
    attracts = "the other views of a node, and all views of its neighbors in the graph"
    source = "Shen et al., AAAI 2023 (NCLA); Zhang et al. 2022 (Local-GCL)"
    reads = ("nodes",)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if not (isinstance(batch.inputs, Data) and "links" in batch.inputs):
            raise ConfigError("method.name=ncl expects the edges of a graph of nodes: use data.name=cora")
        edge_index = batch.inputs["links"]
        count = degree(edge_index[1], len(batch.sample), data["view"].x.dtype)
        data["sample"].num_nodes = len(batch.sample)
        data[SAMPLE_AFFINITY].edge_index = edge_index
        data[SAMPLE_AFFINITY].edge_weight = count[edge_index[1]].reciprocal()
        return data

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        neighbors = LiftToViews(adjacency_of(data, SAMPLE_AFFINITY), self.config.num_views)
        return Mixture(super().attract(data, batch), neighbors, self.config.weight)
