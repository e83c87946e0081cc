from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.knn import nearest_components
from cl_as_gnn.graph.transforms import sample_prototypes
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.operators import LinearOperator, Mixture, SameLabel


class WCLConfig(SoftmaxConfig):
    name: Literal["wcl"] = "wcl"
    weight: float = Field(0.5, ge=0, le=1, description="share λ of the attraction that goes to the component")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before components join")


class WCL(SoftmaxMethod[WCLConfig]):
    r"""`WCL <https://arxiv.org/abs/2110.04770>`_: connected components of the batch's 1-NN graph are weak labels.

    .. math::
        A = (1 - \lambda) A_{\text{aug}} + \lambda A_{\text{label}}, \qquad
        A_{\text{label}, ij} = \frac{[c_i = c_j, \, i \neq j]}{|\{k \neq i : c_k = c_i\}|},

    :math:`c_i` the component of view i's sample in the graph that joins each sample (the mean of its views) to its
    nearest. The second part is SupCon with components as labels. Both parts share one head; the paper has two.
    """

    Config = WCLConfig
    attracts = "all views in the connected component of the 1-NN graph, equal weights"
    source = "Zheng et al., ICCV 2021 (WCL)"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.progress >= self.config.start:
            data["sample"].x = sample_prototypes(data["view"].x, self.config.num_views)
            data["sample"].component = nearest_components(data["sample"].x)
        return data

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        augmentation = super().attract(data, batch)
        if "sample" not in data.node_types:
            return augmentation
        component = data["sample"].component.repeat(self.config.num_views)
        return Mixture(augmentation, SameLabel(component), self.config.weight)
