"""What the methods with a momentum target share."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig, MethodConfig
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.view_graph import AUGMENTATION
from cl_as_gnn.methods.base import Method, Views
from cl_as_gnn.models.heads import mlp_head
from cl_as_gnn.models.momentum import MomentumCopy
from cl_as_gnn.nn.adjacency import Adjacency
from cl_as_gnn.nn.objective import Attraction, Term
from cl_as_gnn.nn.ranks import gather_views


class MomentumConfig(MethodConfig):
    """Settings of every method with a target that follows the encoder."""

    momentum: float = Field(0.99, ge=0, le=1, description="m of the target at the start; it rises to 1 by a cosine")


MomentumConfigT = TypeVar("MomentumConfigT", bound=MomentumConfig)


class MomentumMethod(Method[MomentumConfigT]):
    """Methods whose attracting nodes come from a slow copy of encoder and projector.

    The target takes its step at the start of the next batch, :math:`w' ← m w' + (1 − m) w`, and has no gradient.
    """

    def __init__(self, config: MomentumConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.target = MomentumCopy(nn.Sequential(encoder, self.projector))

    def predict(self, z: Tensor) -> Tensor:
        """What stands between projection and message: nothing by default."""
        return z

    def momentum(self, progress: float) -> float:
        """From the config's value to 1 along half a cosine."""
        return 1 - (1 - self.config.momentum) * (1 + math.cos(math.pi * progress)) / 2

    def graph(self, views: Views) -> HeteroData:
        if self.training:
            self.target.update(nn.Sequential(self.encoder, self.projector), self.momentum(views.progress))
        z, num_views = self.predict(self.projector(self.encoder(views.images))), self.config.num_views
        data = view_graph(gather_views(F.normalize(z.float(), dim=1), num_views), num_views, views.sample)
        data["target"].x = gather_views(F.normalize(self.target(views.images).float(), dim=1), num_views)
        data["target", "augmentation", "view"].edge_index = data[AUGMENTATION].edge_index
        return data

    def keys(self, data: HeteroData) -> Tensor:
        """Targets of the other views of each view, ``(V − 1, n, d)``."""
        target, views = data["target"].x, self.config.num_views
        size = target.size(0) // views
        return torch.stack([target.roll(-shift * size, 0) for shift in range(1, views)])


class PredictiveMethod(MomentumMethod[MomentumConfigT]):
    """Momentum methods with a predictor, which repel nothing.

    The projector ends in a BN without learned scale, as SimSiam's does: without it short runs stay close to collapse.
    """

    repels = "nothing (predictor and momentum target keep from collapse)"

    def __init__(self, config: MomentumConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.predictor = mlp_head(heads.projector_dim, heads.predictor_hidden, heads.projector_dim, 2)

    def build_projector(self, in_dim: int) -> nn.Module:
        h = self.heads
        return mlp_head(
            in_dim, h.projector_hidden, h.projector_dim, h.projector_layers, last_bn=True, last_affine=False
        )

    def predict(self, z: Tensor) -> Tensor:
        out: Tensor = self.predictor(z)
        return out

    def terms(self, data: HeteroData, views: Views) -> list[Term]:
        edge_index, n = data["target", "augmentation", "view"].edge_index, data["view"].x.size(0)
        return [Attraction(Adjacency(edge_index, num_nodes=(n, n)), source=data["target"].x)]
