from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import bank_walk, restricted_diffusion, sample_prototypes
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.gcn import DiffusionConfig, DiffusionMethod
from cl_as_gnn.nn.operators import Adjacency, LinearOperator


class GCNBankConfig(DiffusionConfig):
    """Settings of diffusion over the whole training set."""

    name: Literal["gcn_bank"] = "gcn_bank"
    k: int = Field(10, ge=1, description="nearest neighbours a sample in the affinity graph of the whole training set")


class GCNBank(DiffusionMethod[GCNBankConfig]):
    r"""``gcn`` with the affinity graph of the whole training set, of which each batch sees its part.

    .. math::
        A = (1 - \lambda) A_{\text{aug}} + \lambda \, \tfrac1V \mathbf{1}\mathbf{1}^\top \otimes T_S, \qquad
        T_S = N \left( (W^L)_{SS} - \mathrm{diag} (W^L)_{SS} \right),

    :math:`W` the row softmax of cosine similarity over the k nearest of all N samples, built before each epoch from a
    bank with the features that each sample had when it was last seen; S the samples of the batch. Walks of L hops may
    lead over samples that are not in the batch; a sample that none of them brings back into it keeps its views alone.
    The gate is that of ``gcn``, from the batch.
    """

    Config = GCNBankConfig
    attracts = "L-hop diffusion over the kNN affinity graph of the whole training set, restricted to the batch"
    source = "this package; gcn on a bank"

    def __init__(self, config: GCNBankConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__(config, encoder, heads, num_samples)
        self.bank = SampleBank(num_samples, heads.projector_dim)
        # Made anew from the bank before each epoch, so that it is no state of its own.
        self.walk: Tensor | None = None

    def begin_epoch(self, progress: float) -> None:
        if progress >= self.config.start:
            self.walk = bank_walk(self.bank, self.config.k, self.config.affinity_temperature)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if self.walk is None:
            return data
        return self.join(data, *restricted_diffusion(self.walk, self.config.num_hops, batch.sample))

    def diffuse(self, data: HeteroData) -> LinearOperator:
        edges = data[SAMPLE_AFFINITY]
        return Adjacency(edges.edge_index, edges.edge_weight, data["sample"].x.size(0))

    def update_memory(self, data: HeteroData) -> None:
        prototypes = sample_prototypes(data["view"].x, self.config.num_views)
        self.bank.write(data["view"].sample[: prototypes.size(0)], prototypes)
