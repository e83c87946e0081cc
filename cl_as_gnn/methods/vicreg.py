from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.terms import ChannelSpread, PowerAlignment, Term


class VICRegConfig(MethodConfig):
    name: Literal["vicreg"] = "vicreg"
    invariance: float = Field(25.0, ge=0, description="λ of the distance between views")
    variance: float = Field(25.0, ge=0, description="μ of the hinge on each channel's deviation")
    covariance: float = Field(1.0, ge=0, description="weight of the covariances of channels")


class VICReg(Method[VICRegConfig]):
    r"""`VICReg <https://arxiv.org/abs/2105.04906>`_: views attract, channels keep their spread and repel each other.

    .. math::
        L = \lambda \, \mathbb{E} \tfrac1d \lVert x^1_i - x^2_i \rVert^2
          + \tfrac{\mu}{V d} \sum_{v, k} \max(0, 1 - \sigma^v_k)
          + \tfrac{2 \nu}{V d} \sum_v \sum_{k \neq l} (C^v_{kl})^2 ,

    for features that are not normalized.
    """

    Config = VICRegConfig
    attracts = "the other views, by squared distance"
    repels = "the mean, per channel, while its deviation is below 1; and other channels by their covariance"
    source = "Bardes et al., ICLR 2022"
    unequal_views = True

    def normalize(self, z: Tensor) -> Tensor:
        return z

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        c = self.config
        distance = PowerAlignment(data[AUGMENTATION].edge_index, 2.0, c.invariance / data["view"].x.size(1))
        return [distance, ChannelSpread(c.variance, c.covariance, c.num_views)]
