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
    """`Barlow Twins <https://arxiv.org/abs/2103.03230>`_: channels, not samples, attract and repel.

    The loss is that of :class:`~cl_as_gnn.nn.terms.ChannelCorrelation`, on features standardized within each view.
    """

    Config = BarlowConfig
    attracts = "each channel to itself in the other view"
    repels = "different channels, in proportion to their correlation"
    source = "Zbontar et al., ICML 2021"
    unequal_views = True

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [ChannelCorrelation(self.config.off_diagonal, self.config.num_views)]
