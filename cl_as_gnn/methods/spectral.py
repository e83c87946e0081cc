from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods.base import Batch, Method
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, LinearRepulsion, Term


class SpectralConfig(MethodConfig):
    name: Literal["spectral"] = "spectral"
    mu: float = Field(1.0, gt=0, le=100, description="μ: features are clipped to the ball of radius √μ")


class Spectral(Method[SpectralConfig]):
    r"""`Spectral contrastive loss <https://arxiv.org/abs/2106.04156>`_: the repulsion is linear attention.

    .. math::
        L = \frac1\mu \Big( -2 \, \mathbb{E}_i \, x^1_i \cdot x^2_i
            + \mathbb{E}_{i \neq j} (x^1_i \cdot x^2_j)^2 \Big), \qquad
        x = z \, \min(1, \sqrt\mu / \lVert z \rVert),

    the mean over ordered pairs of views. Its minimum spans the top eigenvectors of the augmentation graph.
    """

    Config = SpectralConfig
    attracts = "the other views, equal weights"
    repels = "linear attention x·xᵀ over the other views of other samples, O(n d²)"
    source = "HaoChen et al., NeurIPS 2021"
    projector_norm = "affine"

    def normalize(self, z: Tensor) -> Tensor:
        length = z.norm(dim=1, keepdim=True).clamp(min=1e-6)
        out: Tensor = z * (self.config.mu**0.5 / length).clamp(max=1)
        return out

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        edges, n, c = data[AUGMENTATION].edge_index, data["view"].x.size(0), self.config
        return [Attraction(Adjacency(edges, num_nodes=n), c.mu / 2), LinearRepulsion(edges, c.num_views, 1 / c.mu)]
