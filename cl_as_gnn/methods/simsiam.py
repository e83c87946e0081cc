from __future__ import annotations

from typing import Literal

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.base import TargetMethod


class SimSiamConfig(MethodConfig):
    name: Literal["simsiam"] = "simsiam"


class SimSiam(TargetMethod[SimSiamConfig]):
    r"""`SimSiam <https://arxiv.org/abs/2011.10566>`_: one-way edges from projections to predictions.

    .. math::
        p_i' = p_i + \alpha \sum_{j \to i} \tfrac{1}{V - 1} \, \mathrm{sg}(z_j),

    the gradient step on :math:`-\cos(p_i, \mathrm{sg}(z_j))`. For V > 2 it is the mean of the cosines to
    the other views; in ``fastsiam`` the cosine to their mean.
    """

    Config = SimSiamConfig
    attracts = "the other views' projections, one-way (stop-gradient)"
    source = "Chen & He, CVPR 2021"
