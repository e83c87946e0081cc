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
from cl_as_gnn.encoders.heads import mlp_head
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.distributed import gather_views
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, Term


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

    def graph(self, batch: Batch) -> HeteroData:
        if self.training:
            self.target.update(nn.Sequential(self.encoder, self.projector), self.momentum(batch.progress))
        z, num_views = self.predict(self.projector(self.encoder(batch.inputs))), self.config.num_views
        data = view_graph(gather_views(F.normalize(z.float(), dim=1), num_views), num_views, batch.sample)
        data["target"].x = gather_views(F.normalize(self.target(batch.inputs).float(), dim=1), num_views)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
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

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        edge_index, n = data[TARGET_AUGMENTATION].edge_index, data["view"].x.size(0)
        return [Attraction(Adjacency(edge_index, num_nodes=(n, n)), source=data["target"].x)]
