from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import NeighborPositives
from cl_as_gnn.graph.schema import AUGMENTATION, REWIRED
from cl_as_gnn.methods.base import Batch, QueueMethod, SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.methods.lookup import LookupConfig
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion, Term


class NeighborConfig(SoftmaxConfig, LookupConfig):
    """Settings of every method whose positives are rewired to neighbors."""

    k: int = Field(1, ge=1, description="neighbors per positive")
    weight: float = Field(0.5, ge=0, le=1, description="share of the attraction that goes to neighbors")
    start: float = Field(0.25, ge=0, le=1, description="share of the training before positives are rewired")


class NeighborMethod(QueueMethod[NeighborConfig], SoftmaxMethod[NeighborConfig]):
    """Base class of methods that rewire positive edges to neighbors in a queue of the latest features."""

    queued: ClassVar[tuple[str, str]] = ("view", "x")

    def queue_rows(self) -> int:
        return max(self.config.k, min(self.config.queue_size, 2 * self.num_samples))

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.progress < self.config.start:
            return data
        return NeighborPositives(self.queue, self.config.k)(data)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        if "neighbour" not in data.node_types:
            return super().terms(data, batch)
        x, temperature = data["view"].x, self.config.temperature
        n, total = x.size(0), x.new_full((), x.size(0))
        edges, source = data[REWIRED], data["neighbour"].x
        rewired = Adjacency(edges.edge_index, self.config.weight * edges.edge_weight, (source.size(0), n))
        # Neighbors take their share from the other views of the sample; without known neighbors, nothing is taken.
        kept = data[AUGMENTATION].edge_index
        rest = (1 - rewired.row_sum)[kept[1]] / (self.config.num_views - 1)
        return [
            Attraction(Adjacency(kept, rest, n), temperature, total=total),
            Attraction(rewired, temperature, source, total=total),
            SoftmaxRepulsion(temperature, own=self.local_rows),
        ]


class NNPositivesConfig(NeighborConfig):
    name: Literal["nn_positives"] = "nn_positives"


class NNPositives(NeighborMethod):
    r"""SimCLR with the nearest neighbors of `NNCLR <https://arxiv.org/abs/2104.14548>`_ among the positives.

    .. math::
        x_i' = x_i + \alpha \Big( (1 - \lambda) \sum_j A_{ij} x_j + \lambda \sum_j A_{ij} \, \mathrm{NN}(x_j)
        - \tfrac12 \big[(P + P^\top) x\big]_i \Big),

    :math:`\mathrm{NN}` from a queue of the latest features. Messages from the queue flow one-way, from row to view.
    """

    Config = NNPositivesConfig
    attracts = "the nearest neighbors of the positive in a queue (one-way edges)"
    source = "Dwibedi et al., ICCV 2021 (NNCLR)"
