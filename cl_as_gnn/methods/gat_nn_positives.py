from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from cl_as_gnn.graph.schema import REWIRED
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.nn_positives import NeighborConfig, NeighborMethod
from cl_as_gnn.nn import PositiveAttention


class GATNNPositivesConfig(NeighborConfig):
    name: Literal["gat_nn_positives"] = "gat_nn_positives"
    k: int = Field(5, ge=2, description="neighbors per positive")
    sharpness: float = Field(5.0, ge=0, description="β of the weights exp(β cos); 0 gives the plain mean")


class GATNNPositives(NeighborMethod):
    r"""``nn_positives`` and ``gat`` together: graph attention over the k nearest neighbors of the positive in a queue.

    .. math::
        x_i' = x_i + \alpha \Big( (1 - \lambda) \sum_j A_{ij} x_j + \lambda \sum_{u} a_{iu} \, u
        - \tfrac12 \big[(P + P^\top) x\big]_i \Big), \qquad
        a_{iu} = \frac{e^{\beta \cos(x_i, u)}}{\sum_{u' \in \mathrm{NN}_k(x_j)} e^{\beta \cos(x_i, u')}},

    so that neighbors dissimilar to the anchor count less.
    """

    config: GATNNPositivesConfig
    Config = GATNNPositivesConfig
    attracts = "the k nearest neighbors of the positive in a queue, by attention (one-way edges)"
    source = "this package; NNCLR with graph attention"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        data = super().rewire(data, batch)
        if "neighbour" in data.node_types:
            edges, x, support = data[REWIRED], data["view"].x.detach(), data["neighbour"].x
            source, target = edges.edge_index
            nodes = torch.cat([x, support.to(x.dtype)])
            attention = PositiveAttention(self.config.sharpness)(nodes, torch.stack([source + x.size(0), target]))
            weight = attention * edges.edge_weight.to(x.dtype)
            total = scatter(weight, target, dim_size=x.size(0), reduce="sum")[target]
            edges.edge_weight = torch.where(total > 0, weight / total, 0)
        return data
