from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod


class DropEdgeConfig(SoftmaxConfig):
    name: Literal["dropedge"] = "dropedge"
    num_views: int = Field(4, ge=3, le=16)
    drop: float = Field(0.5, ge=0, lt=1, description="probability that a positive edge is dropped in a step")


class DropEdge(SoftmaxMethod[DropEdgeConfig]):
    r"""SimCLR that drops positive edges at random in each step, as `DropEdge <https://arxiv.org/abs/1907.10903>`_ does.

    .. math::
        A_{ij} = \frac{\epsilon_{ij}}{\sum_{k \in \mathcal{P}(i)} \epsilon_{ik}}, \qquad
        \epsilon_{ij} \sim \mathrm{Bernoulli}(1 - p),

    :math:`\mathcal{P}(i)` the other V − 1 views of the image (V ≥ 3). A view that loses all its edges is no anchor in
    that step. The message is the gradient of the cross-entropy to A.
    """

    Config = DropEdgeConfig
    attracts = "the other views, edges dropped at random, equal weights on those kept"
    source = "Rong et al., ICLR 2020 (DropEdge), on SimCLR"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        # Dropped edges stay in the list with weight zero: the host does not wait for the device.
        edges, x = data[AUGMENTATION], data["view"].x
        target = edges.edge_index[1]
        kept = torch.rand(target.size(0), device=x.device) >= (self.config.drop if self.training else 0)
        left = scatter(kept.to(x.dtype), target, dim_size=x.size(0), reduce="sum")
        edges.edge_weight = kept / left[target].clamp(min=1)
        return data
