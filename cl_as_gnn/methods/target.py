"""What the methods with a target share: views attract to nodes that receive no gradient."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.encoders.heads import mlp_head
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods.base import Batch, ConfigT, Method, adjacency_of
from cl_as_gnn.nn.operators import LinearOperator
from cl_as_gnn.nn.terms import Attraction, Term


class MomentumConfig(MethodConfig):
    """Settings of every method whose target is a momentum copy of the network."""

    momentum: float = Field(0.99, ge=0, le=1, description="initial momentum m of the target; rises to 1 by a cosine")


class TargetMethod(Method[ConfigT]):
    r"""Base class of methods whose views attract to target nodes without gradient, along one-way edges.

    The target of a view is its own projection with the gradient stopped. If ``Config`` is a :class:`MomentumConfig`, it
    is the projection of a slow copy of encoder and projector instead, which follows them before each step by
    :math:`w' \leftarrow m w' + (1 - m) w`. Messages flow from the targets of the other views to each view.

    The projector of a method with a predictor ends in batch normalization without learned scale, as in SimSiam: without
    it short runs stay close to collapse.
    """

    repels = "nothing (predictor and stop-gradient prevent collapse)"
    projector_norm: ClassVar[Literal["affine", "plain"] | None] = "plain"
    has_predictor: ClassVar[bool] = True
    """Whether a predictor maps the projections to the nodes that are attracted."""

    def build_modules(self) -> None:
        heads, follows = self.heads, isinstance(self.config, MomentumConfig)
        self.target = MomentumCopy(nn.Sequential(self.encoder, self.projector)) if follows else None
        self.predictor: nn.Module = nn.Identity()
        if self.has_predictor:
            self.predictor = mlp_head(heads.projector_dim, heads.predictor_hidden, heads.projector_dim, 2)

    def momentum(self, progress: float) -> float:
        """Return m, which rises from the configured value to 1 along half a cosine."""
        assert isinstance(self.config, MomentumConfig)
        return 1 - (1 - self.config.momentum) * (1 + math.cos(math.pi * progress)) / 2

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        if self.target is not None and self.training:
            self.target.update(nn.Sequential(self.encoder, self.projector), self.momentum(batch.progress))
        z = self.project(batch.inputs)
        view = self.predictor(z)
        return {"view": view, "target": z.detach() if self.target is None else self.target(batch.inputs)}

    def graph(self, batch: Batch) -> HeteroData:
        data = super().graph(batch)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
        return data

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        """Return A⁺ from targets to views. The default uses the edges from the targets of the other views."""
        return adjacency_of(data, TARGET_AUGMENTATION)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [Attraction(self.attract(data, batch), source=data["target"].x)]
