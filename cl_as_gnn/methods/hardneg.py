from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.base import Batch, Method, SoftmaxConfig
from cl_as_gnn.nn.terms import HardNegatives, Term


class NegativesConfig(SoftmaxConfig):
    """Settings of weighted and debiased negatives."""

    beta: float = Field(1.0, ge=0, le=10, description="β: a negative counts e^(β·s/τ) times as much")
    tau_plus: float = Field(0.1, ge=0, lt=1, description="τ⁺, share of the negatives that belong to the anchor's class")


class HardNegativeMethod(Method[NegativesConfig]):
    """Base class of methods that repel along a sharpened, debiased softmax."""

    attracts = "the other views, equal weights, less τ⁺ of the repulsion"

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        c = self.config
        return [HardNegatives(c.temperature, c.beta, c.tau_plus, c.num_views, self.local_rows)]


class HardNegConfig(NegativesConfig):
    name: Literal["hardneg"] = "hardneg"


class HardNeg(HardNegativeMethod):
    """`Hard negative sampling <https://arxiv.org/abs/2010.04592>`_: near negatives repel more, debiased.

    The loss is that of :class:`~cl_as_gnn.nn.terms.HardNegatives`, with the gradient through the weights.
    """

    Config = HardNegConfig
    repels = "softmax over the views of other samples, sharpened by β and debiased"
    source = "Robinson et al., ICLR 2021"
