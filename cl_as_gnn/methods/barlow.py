from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.base import ConfigT, Method, Views
from cl_as_gnn.models.batch_norm import standardise
from cl_as_gnn.nn.objective import Term
from cl_as_gnn.nn.terms import ChannelCorrelation


class BarlowConfig(MethodConfig):
    """Settings of Barlow Twins."""

    name: Literal["barlow"] = "barlow"
    off_diagonal: float = Field(5e-3, ge=0, description="λ of the correlations between different channels")


class StandardisedMethod(Method[ConfigT]):
    """Methods on the graph of channels: in each view, every channel has mean 0 and variance 1 over the batch."""

    eps: ClassVar[float] = 1e-5
    """Added to the variance."""

    def place(self, z: Tensor) -> Tensor:
        parts = z.chunk(self.config.num_views)
        return torch.cat([standardise(part, self.eps) for part in parts])


class Barlow(StandardisedMethod[BarlowConfig]):
    r"""`Barlow Twins <https://arxiv.org/abs/2103.03230>`_: attraction and repulsion on the graph of channels.

    .. math::
        L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \neq l} C_{kl}^2, \qquad C = \tfrac1B (X^1)^\top X^2,

    features standardised over the batch in each view; the mean over the pairs of views.
    """

    Config = BarlowConfig
    attracts = "each channel to itself in the other view"
    repels = "different channels, in proportion to their correlation"
    source = "Zbontar et al., ICML 2021"

    def terms(self, data: HeteroData, views: Views) -> list[Term]:
        return [ChannelCorrelation(self.config.off_diagonal, self.config.num_views)]
