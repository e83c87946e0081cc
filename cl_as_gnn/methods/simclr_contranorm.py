from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from cl_as_gnn.encoders.heads import mlp_head
from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.distributed import gather_rows, own_rank, world_size
from cl_as_gnn.nn.norm import ContraNorm


class SimCLRContraNormConfig(SoftmaxConfig):
    name: Literal["simclr_contranorm"] = "simclr_contranorm"
    scale: float = Field(0.1, ge=0, description="s of the repulsion inside the projector")
    norm_temperature: float = Field(1.0, gt=0, description="τ of the softmax inside the projector")


class BatchContraNorm(ContraNorm):
    """ContraNorm over the rows of all ranks."""

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x, batch, batch_size)
        return super().forward(gather_rows(x)).chunk(world_size())[own_rank()]


class SimCLRContraNorm(SoftmaxMethod[SimCLRContraNormConfig]):
    r"""SimCLR with `ContraNorm <https://arxiv.org/abs/2303.06562>`_ before the last layer of the projector.

    .. math::
        h' = \mathrm{LayerNorm}\big( (1 + s) h - s \, \mathrm{softmax}(\hat h \hat h^\top / \tau) \, h \big),

    over all views of the batch. A layer and the loss both repel; the message on the projected features is SimCLR's.
    """

    Config = SimCLRContraNormConfig
    attracts = "the other views, equal weights"
    repels = "softmax over all other views, ½(P + Pᵀ), and ContraNorm inside the projector"
    source = "Guo et al., ICLR 2023 (ContraNorm), on SimCLR"

    def build_projector(self, in_dim: int) -> nn.Module:
        heads = self.heads
        head = mlp_head(in_dim, heads.projector_hidden, heads.projector_dim, heads.projector_layers)
        width = in_dim if heads.projector_layers == 1 else heads.projector_hidden
        return head.insert(len(head) - 1, BatchContraNorm(width, self.config.scale, self.config.norm_temperature))
