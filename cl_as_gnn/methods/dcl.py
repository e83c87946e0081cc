from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.operators import LinearOperator
from cl_as_gnn.nn.terms import NegativeRepulsion, Term, hard_positives


class DCLConfig(SoftmaxConfig):
    name: Literal["dcl"] = "dcl"
    sigma: float = Field(0.0, ge=0, le=100, description="σ of DCLW, whose near positives weigh less; 0: equal weights")


class DCL(SoftmaxMethod[DCLConfig]):
    r"""`Decoupled contrastive learning <https://arxiv.org/abs/2110.06848>`_: the positive leaves the denominator.

    .. math::
        L = -\frac1n \sum_i \Big( \sum_j A_{ij} \frac{x_i \cdot x_j}{\tau}
            - \log \sum_{k : s_k \neq s_i} e^{x_i \cdot x_k / \tau} \Big),

    :math:`s_i` the sample of view i, so that the attraction to the positive does not fade as it comes close. With
    :math:`\sigma > 0` it is DCLW, whose positives weigh :math:`2 - B \, \mathrm{softmax}(x_i \cdot x_j / \sigma)`, the
    softmax over the B pairs of two views: hard positives attract more. The weights are constants.
    """

    Config = DCLConfig
    attracts = "the other views, equal weights"
    repels = "softmax over the views of other samples, ½(P + Pᵀ)"
    source = "Yeh et al., ECCV 2022"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if self.config.sigma > 0:
            x, edges = data["view"].x.detach(), data[AUGMENTATION]
            edges.edge_weight = hard_positives(x, edges.edge_index, self.config.num_views, self.config.sigma)
        return data

    def repel(self, data: HeteroData, attraction: LinearOperator) -> Term:
        return NegativeRepulsion(self.config.temperature, data["view"].sample, self.local_rows)
