from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.encoders.split import SideBySide
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import view_weight
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method, Preview, SoftmaxConfig, adjacency_of
from cl_as_gnn.nn.terms import Attraction, CrossViewRepulsion, Term


class CMCConfig(SoftmaxConfig):
    name: Literal["cmc"] = "cmc"
    num_views: int = Field(1, ge=1, le=1, description="always 1: both groups of channels are of the same view")
    temperature: float = Field(0.1, gt=0, le=10, description="temperature τ of the softmax over the other group")


class Heads(nn.Module):
    """A head for each encoder: features side by side, ``(n, d_1 + d_2)``, to nodes ``(2 · n, d)``, view-major."""

    def __init__(self, parts: list[nn.Module], widths: tuple[int, ...]):
        super().__init__()
        self.parts, self.widths = nn.ModuleList(parts), widths

    def forward(self, features: Tensor) -> Tensor:
        groups = features.split(self.widths, 1)
        return torch.cat([part(group) for part, group in zip(self.parts, groups, strict=True)])


class CMC(Method[CMCConfig]):
    r"""`Contrastive multiview coding <https://arxiv.org/abs/1906.05849>`_: two groups of channels of one image.

    .. math::
        L = -\frac{1}{2B} \sum_{a \neq b} \sum_i
            \log \frac{e^{x^a_i \cdot x^b_i / \tau}}{\sum_k e^{x^a_i \cdot x^b_k / \tau}}, \qquad
        \text{message} = \frac{1}{B \tau} \big( A - \tfrac12 (P + P^\top) \big) X,

    a and b the first ``encoder.split`` channels and the others, each read by an encoder of its own, :math:`A` the
    augmentation edges between the two groups of one image, :math:`P` the row softmax over the nodes of the other group:
    the affinity graph has no edge within a group. The message is :math:`-\partial L / \partial x`, and
    :math:`\log B - L` is :math:`I_\text{NCE}` of the two groups. Features lie side by side.
    """

    Config = CMCConfig
    attracts = "the other channels of the same image, read by an encoder of their own"
    repels = "softmax over the other channels of all images, ½(P + Pᵀ), none within a group of channels"
    source = "Tian et al., ECCV 2020 (CMC); views as in InfoMin, NeurIPS 2020"
    reads = ("images",)
    needs_split = True

    @classmethod
    def recipe(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        # Colors that change together, or are dropped, would be what the groups of channels share.
        return {"encoder": {"split": 1}, "data": {"augment": {"jitter": [0, 0, 0, 0], "grayscale": 0}}}

    def build_projector(self, in_dim: int) -> nn.Module:
        if not isinstance(self.encoder, SideBySide):
            raise ConfigError(
                "method.name=cmc expects an encoder for each of two groups of channels: set encoder.split, or pass a "
                "SideBySide encoder"
            )
        return Heads([super(CMC, self).build_projector(width) for width in self.encoder.widths], self.encoder.widths)

    @property
    def node_views(self) -> int:
        return 2

    def positives(self, features: Tensor) -> Tensor:
        out: Tensor = self.projector(features.chunk(2)[0])
        return out

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        temperature = self.config.temperature
        return [Attraction(adjacency_of(data, AUGMENTATION), temperature), CrossViewRepulsion(temperature)]

    @torch.no_grad()
    def scores(self, preview: Callable[[], Preview]) -> dict[str, Any]:
        seen, device = preview(), next(self.parameters()).device
        if int(seen.labels.max()) < 0:
            return {}
        parts = [
            self.project(pixels.to(device)).float().cpu().unflatten(0, (2, -1)) for pixels in seen.inputs.split(256)
        ]
        first, second = torch.cat(parts, 1)
        own, within, between = view_weight(first, second, seen.labels, self.config.temperature)
        return {"own_weight": own, "within_weight": within, "between_weight": between}
