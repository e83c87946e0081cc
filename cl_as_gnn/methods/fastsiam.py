from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph.schema import TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, TargetMethod
from cl_as_gnn.nn.terms import Attraction, Term
from cl_as_gnn.nn.unit import unit_rows


class FastSiamConfig(MethodConfig):
    name: Literal["fastsiam"] = "fastsiam"
    num_views: int = Field(4, ge=3, le=16)


class FastSiam(TargetMethod[FastSiamConfig]):
    r"""`FastSiam <https://doi.org/10.1007/978-3-031-16788-1_4>`_: SimSiam to the mean of several views.

    .. math::
        L = -\frac1n \sum_i \cos\Big( p_i, \, \mathrm{sg} \sum_{j \in \mathcal{P}(i)} z_j \Big)
          = -\frac1n \sum_{j \to i} a_{ij} \cos(p_i, z_j), \qquad
        a_{ij} = \frac{\lVert z_j \rVert}{\lVert \sum_{k \in \mathcal{P}(i)} z_k \rVert},

    z the projections before they are normalized, :math:`\mathcal{P}(i)` the other V − 1 views: a message with less
    variance. ``simsiam`` with as many views takes the mean of the cosines, weights :math:`1 / (V - 1)`; here views that
    disagree weigh more.
    """

    Config = FastSiamConfig
    attracts = "the mean of all other views' projections, one-way (stop-gradient)"
    source = "Pototzky et al., GCPR 2022"
    unscaled = ("target",)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        z, edges = data["target"].x, data[TARGET_AUGMENTATION]
        source, target = edges.edge_index
        views = z.unflatten(0, (self.config.num_views, -1))
        length = (views.sum(0) - views).flatten(0, 1).norm(dim=1).clamp(min=1e-12)
        edges.edge_weight = z.norm(dim=1)[source] / length[target]
        data["target"].x = unit_rows(z)
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        target = data["target"].x
        return [Attraction(self.attract(data, batch), source=target, total=target.new_full((), len(target)))]
