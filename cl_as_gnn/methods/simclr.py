from __future__ import annotations

from typing import Literal

from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod


class SimCLRConfig(SoftmaxConfig):
    name: Literal["simclr"] = "simclr"


class SimCLR(SoftmaxMethod[SimCLRConfig]):
    r"""`SimCLR <https://arxiv.org/abs/2002.05709>`_: augmentation edges attract, the complete affinity graph repels.

    .. math::
        x' = x + \alpha \left( A x - \tfrac12 (P + P^\top) x \right), \qquad A_{ij} = \tfrac{1}{V - 1}
        \text{ between views of one image.}

    For V = 2 this is a step along the gradient of NT-Xent.
    """

    Config = SimCLRConfig
    attracts = "the other views, equal weights (a graph convolution)"
    source = "Chen et al., ICML 2020"
