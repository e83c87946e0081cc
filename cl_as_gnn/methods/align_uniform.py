from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.terms import GaussianRepulsion, PowerAlignment, Term


class AlignUniformConfig(MethodConfig):
    name: Literal["align_uniform"] = "align_uniform"
    power: float = Field(2.0, ge=1, le=4, description="power of the distance between positives")
    t: float = Field(2.0, gt=0, le=10, description="t of the Gaussian kernel exp(−t·d²)")
    align_weight: float = Field(1.0, ge=0, description="weight of the alignment")
    uniform_weight: float = Field(1.0, ge=0, description="weight of the uniformity")


class AlignUniform(Method[AlignUniformConfig]):
    r"""`Alignment and uniformity <https://arxiv.org/abs/2005.10242>`_: views of a sample attract, all samples repel.

    .. math::
        L = w_a \, \mathbb{E}_{i \sim j} \lVert x_i - x_j \rVert^\alpha
          + w_u \, \tfrac1V \sum_v \log \mathbb{E}_{i \neq j} \, e^{-t \lVert x^v_i - x^v_j \rVert^2},

    for features on the unit sphere; i ~ j are two views of one sample.
    """

    Config = AlignUniformConfig
    attracts = "the other views, by the gradient of a power of the distance"
    repels = "a Gaussian kernel within each view number, normalized once for the batch"
    source = "Wang & Isola, ICML 2020"

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        c = self.config
        terms: list[Term] = [PowerAlignment(data[AUGMENTATION].edge_index, c.power, c.align_weight)]
        if c.uniform_weight > 0:
            terms.append(GaussianRepulsion(c.t, c.num_views, c.uniform_weight))
        return terms
