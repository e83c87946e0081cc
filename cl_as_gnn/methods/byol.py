from __future__ import annotations

from typing import Literal

from cl_as_gnn.methods.base import MomentumConfig, TargetMethod


class BYOLConfig(MomentumConfig):
    name: Literal["byol"] = "byol"


class BYOL(TargetMethod[BYOLConfig]):
    r"""`BYOL <https://arxiv.org/abs/2006.07733>`_: one-way edges from momentum targets to predictions.

    .. math::
        L = -\frac1n \sum_i \sum_j A_{ij} \, q_i \cdot \bar z_j
          = \tfrac12 \, \mathbb{E} \lVert q_i - \bar z_j \rVert^2 - 1,

    :math:`\bar z` the unit features of a momentum copy of the network, whose momentum rises to 1.
    """

    Config = BYOLConfig
    attracts = "the other views' projections by a momentum copy of the network, one-way"
    repels = "nothing (predictor and momentum target prevent collapse)"
    source = "Grill et al., NeurIPS 2020"
    unequal_views = True
