from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.encoders.vit import ViT, rows_at
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods.base import Batch, MomentumConfig
from cl_as_gnn.methods.prototype_method import PrototypeConfig, PrototypeMethod, transport
from cl_as_gnn.nn.distributed import own_rank, world_size
from cl_as_gnn.nn.terms import MeanEntropy, Term


class MSNConfig(PrototypeConfig, MomentumConfig):
    name: Literal["msn"] = "msn"
    mask: float | None = Field(
        None, ge=0, lt=1, description="share of the patches of an anchor that are hidden, None = 0.15 of a vit"
    )
    sharpening: float = Field(0.25, gt=0, le=1, description="T of the targets: their temperature is T · τ")
    sinkhorn: int = Field(0, ge=0, description="normalizations of the targets over samples and prototypes; 0: none")
    entropy_weight: float = Field(1.0, ge=0, description="weight λ of the entropy of the mean share")


class MSN(PrototypeMethod[MSNConfig]):
    r"""`MSN <https://arxiv.org/abs/2204.07141>`_: views with hidden patches attract to the prototypes of whole views.

    .. math::
        L = -\frac1n \sum_i \sum_j A_{ij} \sum_k P^t_{jk} \log P_{ik} + \lambda \sum_k \bar p_k \log (K \bar p_k),
        \qquad P_{ik} \propto e^{x_i \cdot c_k / \tau}, \quad P^t_{jk} \propto e^{\bar z_j \cdot c_k / (T \tau)},

    :math:`\bar z` the unit projections, by a momentum copy of the network, of the views without a mask,
    :math:`\bar p` the mean of P over the nodes. With ``sinkhorn`` :math:`P^t` is the transport of ``swav``. Patches are
    hidden in training, at random in each view, if the encoder has patches (``encoder.name=vit``); with others the
    anchors are the views as they are, or the crops of several sizes. The paper has one view as target, here all of them
    are, for each other.
    """

    Config = MSNConfig
    attracts = "prototypes, by the sharpened softmax of the other views' momentum targets; patches of a view are hidden"
    repels = "softmax over all prototypes, and prototypes by their mean share (entropy)"
    source = "Assran et al., ECCV 2022 (MSN)"

    def build_modules(self) -> None:
        super().build_modules()
        mask = self.config.mask
        self.visible: int | None = None
        if isinstance(self.encoder, ViT):
            count = self.encoder.num_patches
            self.visible = max(1, round(count * (1 - (0.15 if mask is None else mask))))
        elif mask is not None:
            raise ConfigError(f"method.mask={mask:g} expects an encoder with patches: set encoder.name=vit, or drop it")

    def project(self, inputs: Any) -> Tensor:
        encoder = self.encoder
        if self.visible is None or not self.training or not isinstance(encoder, ViT):
            return super().project(inputs)
        # All ranks draw for the global batch, and each takes its part.
        shape = (self.config.num_views, world_size(), len(inputs) // self.config.num_views, encoder.num_patches)
        draw = torch.rand(shape, device=inputs.device)[:, own_rank()].flatten(0, 1)
        keep = draw.argsort(1)[:, : self.visible]
        out: Tensor = self.projector(encoder.mix(rows_at(encoder.embed(inputs), keep)).mean(1))
        return out

    def shares(self, data: HeteroData) -> Tensor:
        config = self.config
        scores = (self.similarity(data) / (config.sharpening * config.temperature)).log_softmax(1)
        return transport(scores, config.sinkhorn, config.num_views)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        config = self.config
        entropy = MeanEntropy(data["prototype"].x, config.temperature, config.entropy_weight)
        return [*super().terms(data, batch), entropy]
