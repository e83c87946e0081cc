from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.operators import LinearOperator
from cl_as_gnn.nn.terms import SubsetRepulsion, Term


class AffinityRepulsionConfig(SoftmaxConfig):
    name: Literal["affinity_repulsion"] = "affinity_repulsion"
    repel: Literal["complete", "nearest", "random", "farther"] = Field(
        "farther", description="which views of other samples: all, the k nearest, k at random, all but the k nearest"
    )
    repel_k: int = Field(25, ge=0, description="k, in views")


class AffinityRepulsion(SoftmaxMethod[AffinityRepulsionConfig]):
    r"""SimCLR that repels along part of the affinity graph.

    .. math::
        L = -\frac1n \sum_i \Big( \sum_j A_{ij} \frac{x_i \cdot x_j}{\tau}
            - \log \sum_{k \in \mathcal{P}(i) \cup \mathcal{N}(i)} e^{x_i \cdot x_k / \tau} \Big),

    :math:`\mathcal{P}(i)` the other views of the image, :math:`\mathcal{N}(i)` the views of other images that ``repel``
    selects: all (SimCLR), k at random, the k nearest (the hardest negatives), or all but these, which
    may share the anchor's class.
    """

    Config = AffinityRepulsionConfig
    attracts = "the other views, equal weights"
    repels = "softmax over the other views and the k nearest, k random or all but the k nearest of the rest"
    source = "this package; SimCLR with its repulsion restricted"

    def repel(self, data: HeteroData, attraction: LinearOperator) -> Term:
        c = self.config
        return SubsetRepulsion(c.temperature, data["view"].sample, c.repel, c.repel_k)
