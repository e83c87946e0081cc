from __future__ import annotations

from typing import Literal

from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.operators import LinearOperator
from cl_as_gnn.nn.terms import NegativeRepulsion, Term


class DCLConfig(SoftmaxConfig):
    name: Literal["dcl"] = "dcl"


class DCL(SoftmaxMethod[DCLConfig]):
    r"""`Decoupled contrastive learning <https://arxiv.org/abs/2110.06848>`_: the positive leaves the denominator.

    .. math::
        L = -\frac1n \sum_i \Big( \sum_j A_{ij} \frac{x_i \cdot x_j}{\tau}
            - \log \sum_{k : s_k \neq s_i} e^{x_i \cdot x_k / \tau} \Big),

    :math:`s_i` the sample of view i, so that the attraction to the positive does not fade as it comes close.
    """

    Config = DCLConfig
    attracts = "the other views, equal weights"
    repels = "softmax over the views of other samples, ½(P + Pᵀ)"
    source = "Yeh et al., ECCV 2022"

    def repel(self, data: HeteroData, attraction: LinearOperator) -> Term:
        return NegativeRepulsion(self.config.temperature, data["view"].sample, self.local_rows)
