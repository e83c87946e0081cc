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
    r"""`CCA-SSG <https://arxiv.org/abs/2106.12484>`_: views attract, and the channels of each view repel each other.

    .. math::
        L = \tfrac{1}{2 B} \lVert X^1 - X^2 \rVert_F^2
          + \lambda \sum_v \lVert \tfrac1B (X^v)^\top X^v - I \rVert_F^2,

    features standardized over the batch in each view: the released code, which leaves out the constant d of the first
    term (the paper has twice that term). With V > 2 views the mean over the pairs, and twice the mean over the views.
    ``barlow`` correlates the channels of different views instead.
    """

    Config = CCASSGConfig
    attracts = "the other views, by squared distance"
    repels = "different channels of the same view, in proportion to their correlation"
    source = "Zhang et al., NeurIPS 2021 (CCA-SSG)"

    # Features of averaged inputs are small, and shrinking them below an eps would be a way around the second term.
    eps = 1e-12

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [ChannelDecorrelation(self.config.decorrelation, self.config.num_views)]
