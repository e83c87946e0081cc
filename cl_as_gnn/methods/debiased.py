from __future__ import annotations

from typing import Literal

from pydantic import Field

from cl_as_gnn.methods.hardneg import HardNegativeMethod, NegativesConfig


class DebiasedConfig(NegativesConfig):
    name: Literal["debiased"] = "debiased"
    beta: float = Field(0.0, ge=0, le=10, description="β; 0 = debiased only")


class Debiased(HardNegativeMethod):
    r"""`Debiased contrastive learning <https://arxiv.org/abs/2007.00224>`_: ``hardneg`` with :math:`\beta = 0`.

    .. math::
        L = -\frac1n \sum_i \log \frac{e^{s_{i+}/\tau}}{e^{s_{i+}/\tau} + N_i}, \qquad
        N_i = \max\Big( \frac{\sum_k e^{s_{ik}/\tau} - \tau^+ N e^{s_{i+}/\tau}}{1 - \tau^+}, \; N e^{-1/\tau} \Big).
    """

    Config = DebiasedConfig
    repels = "softmax over the views of other samples, less the share τ⁺ of the anchor's own class"
    source = "Chuang et al., NeurIPS 2020"
