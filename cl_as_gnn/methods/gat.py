from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn import PositiveAttention


class GATConfig(SoftmaxConfig):
    name: Literal["gat"] = "gat"
    num_views: int = Field(4, ge=2, le=16)
    sharpness: float = Field(1.0, ge=0, description="β of exp(β cos); 0 is the plain mean")
    normalize: Literal["anchor", "batch"] = Field(
        "anchor", description="anchor = attention over each view's positives; batch = the paper's two-view weighting"
    )

    @model_validator(mode="after")
    def _has_a_choice(self) -> GATConfig:
        if self.normalize == "anchor" and self.num_views < 3:
            raise ValueError(
                f"num_views={self.num_views} leaves one positive per view, where attention is always 1: "
                "set num_views to 3 or more, or method.normalize=batch"
            )
        return self


class GAT(SoftmaxMethod[GATConfig]):
    r"""Graph attention over the positives, `Wang et al. 2023 <https://arxiv.org/abs/2303.04435>`_.

    .. math::
        A_{ij} = \frac{e^{\beta \cos(z_i, z_j)}}{\sum_{k \in \mathcal{P}(i)} e^{\beta \cos(z_i, z_k)}},

    :math:`\mathcal{P}(i)` the other V − 1 views of the image (V ≥ 3). ``normalize=batch`` is the released SimCLR-Attn,
    with one positive per view: the batch normalizes the weights, and the repulsion of an anchor has the same weight.
    """

    Config = GATConfig
    attracts = "attention over the other V − 1 views, softmax of β·cos"
    source = "Wang et al., ICLR 2023 (SimCLR-Attn)"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        edges = data[AUGMENTATION]
        attention = PositiveAttention(self.config.sharpness, self.config.normalize)
        edges.edge_weight = attention(data["view"].x, edges.edge_index)
        return data
