from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, MomentumConfig, TargetMethod
from cl_as_gnn.nn.terms import KeyContrast, Term


class MoCoV3Config(MomentumConfig):
    name: Literal["mocov3"] = "mocov3"
    temperature: float = Field(0.2, gt=0, le=10, description="temperature τ of the softmax over the keys of a view")


class MoCoV3(TargetMethod[MoCoV3Config]):
    r"""`MoCo v3 <https://arxiv.org/abs/2104.02057>`_: the keys of the batch in place of a queue.

    .. math::
        L = -\frac{2 \tau}{n (V - 1)} \sum_{a \neq b} \sum_i
            \log \frac{e^{p^a_i \cdot \bar z^b_i / \tau}}{\sum_k e^{p^a_i \cdot \bar z^b_k / \tau}},

    p the predictions, :math:`\bar z` the unit projections by a momentum copy of the network (the paper sums both
    directions of two views, this is their mean). Messages flow one-way, from keys to predictions.
    """

    Config = MoCoV3Config
    attracts = "the other view's momentum key, one-way"
    repels = "softmax over all keys of the other view, one-way"
    source = "Chen et al., ICCV 2021 (MoCo v3)"
    unequal_views = True

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        c = self.config
        return [KeyContrast(data["target"].x, c.temperature, c.num_views, weight=2 * c.temperature)]
