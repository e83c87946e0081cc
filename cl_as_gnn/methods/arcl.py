from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod


class ArCLConfig(SoftmaxConfig):
    name: Literal["arcl"] = "arcl"
    num_views: int = Field(4, ge=2, le=16, description="views V drawn from each image")
    aggregate: Literal["hardest", "mean"] = Field("hardest", description="hardest = the least similar view; mean = all")


class ArCL(SoftmaxMethod[ArCLConfig]):
    r"""Max aggregation over the positives, `ArCL <https://arxiv.org/abs/2303.01092>`_: the least similar view attracts.

    .. math::
        L = -\frac1n \sum_i \Big( \min_{b \in \mathcal{P}(i)} \frac{x_i \cdot x_b}{\tau} - \ell_i \Big), \qquad
        A_{ij} = [\, j = \arg\min_{b \in \mathcal{P}(i)} x_i \cdot x_b \,],

    :math:`\mathcal{P}(i)` the other V − 1 views, :math:`\ell_i` the log-partition. Equally dissimilar views share the
    attraction. ``aggregate=mean`` averages over all other views, as a baseline.
    """

    Config = ArCLConfig
    attracts = "only the least similar of the other views (max aggregation)"
    source = "Zhao et al., ICLR 2023 (ArCL)"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if self.config.aggregate == "hardest":
            edges, x = data[AUGMENTATION], data["view"].x.detach()
            source, target = edges.edge_index
            similarity = (x[source] * x[target]).sum(1)
            least = scatter(similarity, target, dim_size=x.size(0), reduce="min")
            hardest = (similarity <= least[target]).to(x.dtype)
            edges.edge_weight = hardest / scatter(hardest, target, dim_size=x.size(0), reduce="sum")[target]
        return data
