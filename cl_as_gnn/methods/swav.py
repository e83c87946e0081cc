from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.methods.prototype_method import PrototypeConfig, PrototypeMethod, transport


class SwAVConfig(PrototypeConfig):
    name: Literal["swav"] = "swav"
    epsilon: float = Field(0.05, gt=0, le=10, description="entropy ε of the transport: larger values spread the shares")
    iterations: int = Field(3, ge=1, description="normalizations of the transport, over samples and over prototypes")


class SwAV(PrototypeMethod[SwAVConfig]):
    r"""`SwAV <https://arxiv.org/abs/2006.09882>`_: views attract to the prototypes of the other views.

    .. math::
        L = -\frac1n \sum_i \sum_j A_{ij} \sum_k Q_{jk} \log P_{ik}, \qquad P_{ik} \propto e^{x_i \cdot c_k / \tau},

    with Q the transport of the samples of a view to equally filled prototypes: :math:`e^{x_j \cdot c_k / \varepsilon}`,
    normalized in turn over samples and over prototypes, as many times as ``iterations`` says. The paper scales the
    prototypes to unit length after each step and holds them in the first epoch; here their length is taken from the
    loss, and they move from the start.
    """

    Config = SwAVConfig
    attracts = "prototypes, by the transport of the other views to them"
    repels = "softmax over all prototypes"
    source = "Caron et al., NeurIPS 2020 (SwAV)"

    def shares(self, data: HeteroData) -> Tensor:
        config = self.config
        return transport(self.similarity(data) / config.epsilon, config.iterations, config.num_views)
