from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import DeepGraphInfomax

from cl_as_gnn.config import MethodConfig
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.methods.base import Batch, Method


class DGIConfig(MethodConfig):
    name: Literal["dgi"] = "dgi"
    num_views: int = Field(1, ge=1, le=1, description="always 1: the graph itself; its corruption is not a view")


def shuffled(data: Data) -> Data:
    """Return the graph with the features of its nodes permuted at random."""
    corrupted: Data = data.clone()
    x = data.x if data.x.layout == torch.strided else data.x.to_dense()  # rows of a CSR matrix cannot be indexed
    corrupted.x = x[torch.randperm(len(x), device=x.device)]
    return corrupted


def summary(z: Tensor, *_: Tensor) -> Tensor:
    """Return the sigmoid of the mean of the node features."""
    return z.mean(0).sigmoid()


class DGI(Method[DGIConfig]):
    r"""`Deep Graph Infomax <https://arxiv.org/abs/1809.10341>`_, PyG's ``DeepGraphInfomax``: nodes against a summary.

    .. math::
        L = -\frac1N \sum_i \log \sigma(z_i^\top W s) - \frac1N \sum_i \log \big( 1 - \sigma(\tilde z_i^\top W s) \big),
        \qquad s = \sigma\Big( \tfrac1N \sum_i z_i \Big),

    :math:`\tilde z` the features of the graph with the inputs of its nodes shuffled. Nodes exchange messages only with
    one summary node, which attracts real and repels shuffled nodes, along :math:`W s`. Autograd computes the gradient.
    """

    Config = DGIConfig
    attracts = "no pairs: every node to the summary of its graph (local to global)"
    repels = "the same node with shuffled features, from that summary"
    source = "Veličković et al., ICLR 2019 (DGI), PyG's DeepGraphInfomax"
    reads = ("nodes",)

    def build_modules(self) -> None:
        network, dim = nn.Sequential(self.encoder, self.projector), self.heads.projector_dim
        self.infomax = DeepGraphInfomax(dim, network, summary, shuffled)

    def forward(self, batch: Batch) -> tuple[Tensor, HeteroData]:
        if not isinstance(batch.inputs, Data):
            raise ConfigError("method.name=dgi expects the nodes of a graph: use data.name=cora")
        with torch.autocast(batch.sample.device.type, enabled=False):
            real, fake, vector = self.infomax(batch.inputs)
            return self.infomax.loss(real, fake, vector), view_graph(real, 1, batch.sample)
