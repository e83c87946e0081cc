from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field
from torch import nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import FeatureQueue, NeighbourPositives
from cl_as_gnn.graph.schema import AUGMENTATION, REWIRED
from cl_as_gnn.methods.base import Batch, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.nn.distributed import local_rows
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion, Term


class NeighbourConfig(SoftmaxConfig):
    """Settings of every method whose positives are rewired to neighbours."""

    queue_size: int = Field(1024, ge=1, description="latest features kept as the support of neighbours")
    k: int = Field(1, ge=1, description="neighbours of each positive")
    weight: float = Field(0.5, ge=0, le=1, description="share of the attraction that goes to neighbours")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before positives are rewired")


NeighbourConfigT = TypeVar("NeighbourConfigT", bound=NeighbourConfig)


class NeighbourMethod(SoftmaxMethod[NeighbourConfigT]):
    """Methods that rewire positive edges to neighbours in a queue of the latest features."""

    def __init__(self, config: NeighbourConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.bank = FeatureQueue(max(config.k, min(config.queue_size, 2 * num_samples)), heads.projector_dim)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.progress < self.config.start:
            return data
        return NeighbourPositives(self.bank, self.config.k)(data)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        if "neighbour" not in data.node_types:
            return super().terms(data, batch)
        n, temperature = data["view"].x.size(0), self.config.temperature
        edges, source = data[REWIRED], data["neighbour"].x
        rewired = Adjacency(edges.edge_index, self.config.weight * edges.edge_weight, (source.size(0), n))
        # What a view's neighbours take, its other views give up; without known neighbours they keep all.
        kept = data[AUGMENTATION].edge_index
        rest = (1 - rewired.row_sum)[kept[1]] / (self.config.num_views - 1)
        return [
            Attraction(Adjacency(kept, rest, n), temperature, total=n),
            Attraction(rewired, temperature, source, total=n),
            SoftmaxRepulsion(temperature, own=local_rows(self.config.num_views)),
        ]

    def update_memory(self, data: HeteroData) -> None:
        size = data["view"].x.size(0) // self.config.num_views
        self.bank.push(data["view"].x[:size], data["view"].sample[:size])


class NNPositivesConfig(NeighbourConfig):
    """Settings of nearest-neighbour positives."""

    name: Literal["nn_positives"] = "nn_positives"


class NNPositives(NeighbourMethod[NNPositivesConfig]):
    r"""Positive edges rewired to the positive's nearest neighbours in a bank, as in `NNCLR
    <https://arxiv.org/abs/2104.14548>`_.

    .. math::
        x_i' = x_i + \alpha \Big( (1 - \lambda) \sum_j A_{ij} x_j + \lambda \sum_j A_{ij} \, \mathrm{NN}(x_j)
        - \tfrac12 \big[(P + P^\top) x\big]_i \Big),

    where messages from the bank flow one way, bank row to view, and the bank is a queue of the latest features.
    """

    Config = NNPositivesConfig
    attracts = "the nearest neighbours of the positive in a bank (one-way edges)"
    source = "Dwibedi et al., ICCV 2021 (NNCLR)"
