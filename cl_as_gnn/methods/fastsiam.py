from __future__ import annotations

from typing import Literal

from pydantic import Field

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.methods.base import TargetMethod


class FastSiamConfig(MethodConfig):
    name: Literal["fastsiam"] = "fastsiam"
    num_views: int = Field(4, ge=3, le=16)


class FastSiam(TargetMethod[FastSiamConfig]):
    r"""`FastSiam <https://doi.org/10.1007/978-3-031-16788-1_4>`_: SimSiam with more views.

    .. math::
        L = -\frac1n \sum_i p_i \cdot \frac{1}{V - 1} \sum_{j \in \mathcal{P}(i)} \mathrm{sg}(z_j),

    so that each prediction attracts to the mean over the other V − 1 views, a message with less variance.
    """

    Config = FastSiamConfig
    attracts = "the mean of all other views' projections, one-way (stop-gradient)"
    source = "Pototzky et al., GCPR 2022"
