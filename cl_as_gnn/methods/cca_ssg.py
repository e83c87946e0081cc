from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.barlow import StandardizedMethod
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.nn.terms import ChannelDecorrelation, Term


class CCASSGConfig(MethodConfig):
    name: Literal["cca_ssg"] = "cca_ssg"
    decorrelation: float = Field(1e-3, ge=0, description="λ of the correlations between channels of one view")


class CCASSG(StandardizedMethod[CCASSGConfig]):
    r"""`CCA-SSG <https://arxiv.org/abs/2106.12484>`_: views attract, and the channels within a view repel each other.

    .. math::
        L = \tfrac{1}{2 B} \lVert X^1 - X^2 \rVert_F^2
          + \lambda \sum_v \lVert \tfrac1B (X^v)^\top X^v - I \rVert_F^2,

    for features standardized over the batch in each view: the loss of the released code plus the constant d (the paper
    doubles the first term). That code divides by the sample deviation (B − 1), here the variance over B is 1, so that
    :math:`X^\top X / B` is a correlation; the gradients differ by the share 1/B. For V > 2: the mean over the pairs
    of views, and twice the mean over the views.
    """

    Config = CCASSGConfig
    attracts = "the other views, by squared distance"
    repels = "different channels of the same view, in proportion to their correlation"
    source = "Zhang et al., NeurIPS 2021 (CCA-SSG)"

    eps = 1e-12  # with a larger one, small features would have a variance below 1 and evade the second term

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [ChannelDecorrelation(self.config.decorrelation, self.config.num_views)]
