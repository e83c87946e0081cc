"""Base class of the methods that predict patches of an image from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.encoders.vit import ViT
from cl_as_gnn.graph import view_graph
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.distributed import gather_views, own_rank, world_size


class PatchConfig(MethodConfig):
    """Settings of every method that predicts patches."""

    num_views: int = Field(
        1, ge=1, le=1, description="always 1: the patches that are seen; what is predicted is no view"
    )
    temperature: float = Field(1.0, gt=0, le=10, description="temperature τ of the softmax over tokens")


PatchConfigT = TypeVar("PatchConfigT", bound=PatchConfig)


def own_part(x: Tensor) -> Tensor:
    """The rows of this rank, of rows of all ranks."""
    out: Tensor = x.unflatten(0, (world_size(), -1))[own_rank()]
    return out


class PatchMethod(Method[PatchConfigT]):
    """Base class: the nodes on which terms act are predictions of patches, and tokens are nodes beside them.

    There is no projector: the encoder's features are the means of the patches that it has seen.
    """

    repels = "softmax over the centers of all tokens, one bipartite graph"
    reads = ("images",)
    needs_patches = True
    nodes = "patch"

    @classmethod
    def recipe(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"encoder": {"name": "vit"}}

    def build_projector(self, in_dim: int) -> nn.Module:
        return nn.Identity()

    @property
    def vit(self) -> ViT:
        """The encoder, which has patches."""
        assert isinstance(self.encoder, ViT)
        return self.encoder

    def draw(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the order ``(n, P)`` in which the patches of each image are hidden last, and other draws ``(n, P)``.

        All ranks draw for the global batch, and each takes its part. In eval mode the order is that of the golden
        ratio, for all images.
        """
        count = self.vit.num_patches
        first, second = own_part(torch.rand(len(batch.sample), 2, count, device=device)).unbind(1)
        if not self.training:
            first = torch.arange(count, device=device).mul(0.618034).frac().expand_as(first)
        return first.argsort(1), second

    def nodes_of(self, batch: Batch, feature: Tensor, predicted: Tensor) -> HeteroData:
        """Return the graph of all ranks, without edges: features ``(n, d)`` and predictions ``(n, p, c)``."""
        data = view_graph(gather_views(feature), 1, batch.sample)
        flat = predicted.flatten(0, 1)
        data["patch"].x = gather_views(flat if flat.dtype == torch.double else flat.float())
        owner = torch.arange(len(batch.sample), device=flat.device).repeat_interleave(predicted.size(1))
        data["patch"].view, data["patch"].sample = owner, batch.sample[owner]
        return data
