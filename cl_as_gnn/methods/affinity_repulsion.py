from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.terms import Attraction, SubsetRepulsion, Term


class AffinityRepulsionConfig(SoftmaxConfig):
    """Settings of repulsion along part of the affinity graph."""

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

    :math:`\mathcal{P}(i)` the other views of the image and :math:`\mathcal{N}(i)` the views of other images that
    ``repel`` names; with all of them, SimCLR. Leaving out the nearest (``farther``, the default) spares views that may
    well be of the anchor's class; repelling them alone (``nearest``) keeps the hardest negatives.
    """

    Config = AffinityRepulsionConfig
    attracts = "the other views, equal weights"
    repels = "softmax over the other views and the k nearest, k random or all but the k nearest of the rest"
    source = "this package; SimCLR with its repulsion restricted"

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        config = self.config
        return [
            Attraction(self.attract(data, batch), config.temperature),
            SubsetRepulsion(config.temperature, data["view"].sample, config.repel, config.repel_k),
        ]
