from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.terms import LogisticPairs, Term


class SigLIPConfig(MethodConfig):
    name: Literal["siglip"] = "siglip"
    scale: float = Field(10.0, gt=0, le=1000, description="initial t; learned")
    bias: float = Field(-10.0, description="initial b; learned")


class SigLIP(Method[SigLIPConfig]):
    """The sigmoid loss of `SigLIP <https://arxiv.org/abs/2303.15343>`_ between the views of an image.

    The loss is that of :class:`~cl_as_gnn.nn.terms.LogisticPairs`; its messages also train t and b.
    """

    Config = SigLIPConfig
    attracts = "the other views, logistic weight"
    repels = "views of other samples, logistic weight each, no degree normalization"
    source = "Zhai et al., ICCV 2023"

    def build_modules(self) -> None:
        self.log_scale = nn.Parameter(torch.tensor(math.log(self.config.scale)))
        self.bias = nn.Parameter(torch.tensor(self.config.bias))

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [LogisticPairs(self.log_scale, self.bias, self.config.num_views, self.local_rows)]
