from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.encoders.batch_norm import standardize
from cl_as_gnn.methods.base import Batch, ConfigT, Method
from cl_as_gnn.nn.terms import ChannelCorrelation, Term


class BarlowConfig(MethodConfig):
    name: Literal["barlow"] = "barlow"
    off_diagonal: float = Field(5e-3, ge=0, description="λ of the correlations between different channels")


class StandardizedMethod(Method[ConfigT]):
    """Methods on the graph of channels: in each view, every channel has mean 0 and variance 1 over the batch."""

    eps: ClassVar[float] = 1e-5
    """Added to the variance."""

    def normalize(self, z: Tensor) -> Tensor:
        parts = z.chunk(self.config.num_views)
        return torch.cat([standardize(part, self.eps) for part in parts])


class Barlow(StandardizedMethod[BarlowConfig]):
    r"""`Barlow Twins <https://arxiv.org/abs/2103.03230>`_: attraction and repulsion on the graph of channels.

    .. math::
        L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \neq l} C_{kl}^2, \qquad C = \tfrac1B (X^1)^\top X^2,

    features standardized over the batch in each view; the mean over the pairs of views.
    """

    Config = BarlowConfig
    attracts = "each channel to itself in the other view"
    repels = "different channels, in proportion to their correlation"
    source = "Zbontar et al., ICML 2021"

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [ChannelCorrelation(self.config.off_diagonal, self.config.num_views)]
