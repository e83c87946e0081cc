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
    """Base class of methods that standardize each channel over the batch, separately in each view."""

    eps: ClassVar[float] = 1e-5
    """Added to the variance."""

    def normalize(self, z: Tensor) -> Tensor:
        return torch.cat([standardize(part, self.eps) for part in z.chunk(self.config.num_views)])


class Barlow(StandardizedMethod[BarlowConfig]):
    r"""`Barlow Twins <https://arxiv.org/abs/2103.03230>`_: channels, not samples, attract and repel.

    .. math::
        L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \neq l} C_{kl}^2, \qquad C = \tfrac1B (X^1)^\top X^2,

    for features standardized over the batch in each view. For V > 2 the loss is the mean over the pairs of views.
    """

    Config = BarlowConfig
    attracts = "each channel to itself in the other view"
    repels = "different channels, in proportion to their correlation"
    source = "Zbontar et al., ICML 2021"

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [ChannelCorrelation(self.config.off_diagonal, self.config.num_views)]
