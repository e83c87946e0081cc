from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig, MethodConfig
from cl_as_gnn.encoders.heads import mlp_head
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, ConfigT, Method
from cl_as_gnn.nn.distributed import gather_views
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, Term


class SimSiamConfig(MethodConfig):
    """Settings of SimSiam."""

    name: Literal["simsiam"] = "simsiam"


class StopGradientMethod(Method[ConfigT]):
    """Methods that attract each prediction along a one-way edge to a target that gets no gradient; none repels."""

    repels = "nothing (predictor and stop-gradient keep from collapse)"

    def __init__(self, config: ConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.predictor = mlp_head(heads.projector_dim, heads.predictor_hidden, heads.projector_dim, 2)

    def build_projector(self, in_dim: int) -> nn.Module:
        heads = self.heads
        return mlp_head(
            in_dim,
            heads.projector_hidden,
            heads.projector_dim,
            heads.projector_layers,
            last_bn=True,
            last_affine=False,
        )

    def graph(self, batch: Batch) -> HeteroData:
        z, num_views = self.projector(self.encoder(batch.inputs)), self.config.num_views
        prediction = F.normalize(self.predictor(z).float(), dim=1)
        data = view_graph(gather_views(prediction, num_views), num_views, batch.sample)
        data["target"].x = gather_views(F.normalize(z.detach().float(), dim=1), num_views)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        edge_index, n = data[TARGET_AUGMENTATION].edge_index, data["view"].x.size(0)
        return [Attraction(Adjacency(edge_index, num_nodes=(n, n)), source=data["target"].x)]


class SimSiam(StopGradientMethod[SimSiamConfig]):
    r"""`SimSiam <https://arxiv.org/abs/2011.10566>`_: a one-way edge from each view to the prediction of the other.

    .. math::
        p_i' = p_i + \alpha \sum_{j \to i} \tfrac{1}{V - 1} \, \mathrm{sg}(z_j),

    the gradient of :math:`-\cos(p_i, \mathrm{sg}(z_j))`. With V > 2 the target is the mean over the other views.
    """

    Config = SimSiamConfig
    attracts = "the other views' projections, one-way (stop-gradient)"
    source = "Chen & He, CVPR 2021"
