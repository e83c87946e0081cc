"""The base class of the methods whose views agree in their shares of learned prototypes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.base import Batch, TargetMethod
from cl_as_gnn.nn.terms import Term, TokenContrast
from cl_as_gnn.nn.unit import unit_rows


class PrototypeConfig(MethodConfig):
    """Settings of every method with prototypes."""

    num_prototypes: int = Field(256, ge=2, description="number K of prototypes")
    temperature: float = Field(0.1, gt=0, le=10, description="temperature τ of a view's softmax over the prototypes")


PrototypeConfigT = TypeVar("PrototypeConfigT", bound=PrototypeConfig)


class PrototypeMethod(TargetMethod[PrototypeConfigT]):
    r"""Base class of methods with K learned unit vectors, the prototypes, as nodes of their own.

    .. math::
        L = -\frac1n \sum_i \sum_k T_{ik} \log P_{ik}, \qquad P_{ik} \propto e^{x_i \cdot c_k / \tau}, \qquad
        m_i = \frac{1}{n \tau} (T - P) C,

    with :math:`T_{ik}` the mean share of prototype k in the targets of the other views: messages flow from prototypes
    to views and, by the same edges, from views to prototypes.
    """

    has_predictor = False
    projector_norm = None

    def build_modules(self) -> None:
        super().build_modules()
        start = torch.randn(self.config.num_prototypes, self.heads.projector_dim)
        self.prototypes = nn.Parameter(unit_rows(start))

    def similarity(self, data: HeteroData) -> Tensor:
        """Return the similarity of each target to each prototype, ``(n, K)``."""
        target, prototypes = data["target"].x, data["prototype"].x.detach()
        out: Tensor = target @ prototypes.to(target.dtype).t()
        return out

    @abstractmethod
    def shares(self, data: HeteroData) -> Tensor:
        """Return the share of each prototype in each target, ``(n, K)``; rows sum to one."""

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        """Add the prototypes as nodes, and the shares that each view attracts by."""
        data["prototype"].x = unit_rows(self.prototypes)
        with torch.no_grad(), torch.autocast(data["view"].x.device.type, enabled=False):
            others = self.attract(data, batch)
            data["view"].share = others.matmul(self.shares(data)) / (self.config.num_views - 1)
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [TokenContrast(data["view"].share, data["prototype"].x, self.config.temperature)]


def transport(scores: Tensor, iterations: int, num_views: int) -> Tensor:
    """Sinkhorn's normalization of ``exp(scores)`` ``(n, K)``, for each view: rows sum to one, columns in the limit to
    B / K. Without iterations: the row softmax."""
    views = scores.unflatten(0, (num_views, -1))
    for _ in range(iterations):
        views = views.log_softmax(1).log_softmax(2)
    out: Tensor = views.softmax(2).flatten(0, 1)
    return out
