from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import LISTS_ABOVE
from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import bank_walk, restricted_diffusion, sample_prototypes
from cl_as_gnn.methods.base import Batch, MemoryConfig, adjacency_of
from cl_as_gnn.methods.gcn import DiffusionConfig, DiffusionMethod
from cl_as_gnn.nn.operators import LinearOperator


class GCNBankConfig(DiffusionConfig, MemoryConfig):
    name: Literal["gcn_bank"] = "gcn_bank"
    k: int = Field(10, ge=1, description="nearest neighbors per sample in the whole training set")
    lists_above: int = Field(
        LISTS_ABOVE, ge=1, description="samples above which inverted lists find neighbors, on a CPU"
    )


def _without_walk(module: nn.Module, state: dict[str, Any], prefix: str, *more: Any) -> None:
    state.setdefault(f"{prefix}_extra_state", torch.empty(0))


class GCNBank(DiffusionMethod):
    r"""``gcn`` with the affinity graph of the whole training set, of which each batch sees its part.

    .. math::
        A = (1 - \lambda) A_{\text{aug}} + \lambda \, \tfrac1V \mathbf{1}\mathbf{1}^\top \otimes T_S, \qquad
        T_S = N \left( (W^L)_{SS} - \mathrm{diag} (W^L)_{SS} \right),

    :math:`W` the row softmax of cosine similarity over the k nearest of all samples, built before each epoch from
    their latest features; S the samples of the batch. Walks of L hops may pass through samples outside the batch. A
    sample that no walk joins to another of the batch attracts to its own views only. The gate is that of
    ``gcn`` with ``agreed=False``, at 0.3.
    """

    config: GCNBankConfig

    Config = GCNBankConfig
    neighbors_from = "training set"
    attracts = "L-hop diffusion over the kNN affinity graph of the whole training set, restricted to the batch"
    source = "this package; gcn on a bank"

    def build_modules(self) -> None:
        self.bank = SampleBank(self.num_samples, self.heads.projector_dim, shared=self.config.shared)
        self.walk: Tensor | None = None
        # Checkpoints of versions before 0.3 have no walk.
        self.register_load_state_dict_pre_hook(_without_walk)  # type: ignore[no-untyped-call]

    def get_extra_state(self) -> Tensor:
        """The walk, which a run that continues within an epoch cannot build: the bank has changed since.

        Rows, columns and values of its entries as float64 ``(3, e)``, which holds all three exactly; empty without.
        """
        if self.walk is None:
            return torch.empty(0)
        return torch.cat([self.walk.indices().double(), self.walk.values().double().unsqueeze(0)])

    def set_extra_state(self, state: Tensor) -> None:
        if state.numel():
            size = self.num_samples, self.num_samples
            index, values = state[:2].long(), state[2].float()
            self.walk = torch.sparse_coo_tensor(index, values, size, check_invariants=True, is_coalesced=True)

    def begin_epoch(self, progress: float) -> None:
        if progress >= self.config.start:
            self.walk = bank_walk(self.bank, self.config.k, self.config.affinity_temperature, self.config.lists_above)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if self.walk is None:
            return data
        self.walk = self.walk.to(batch.sample.device)  # that of a checkpoint is on the CPU
        return self.join(data, *restricted_diffusion(self.walk, self.config.num_hops, batch.sample))

    def diffuse(self, data: HeteroData) -> LinearOperator:
        return adjacency_of(data, SAMPLE_AFFINITY)

    def update_memory(self, data: HeteroData) -> None:
        prototypes = sample_prototypes(data["view"].x, self.config.num_views)
        self.bank.write(data["view"].sample[: prototypes.size(0)], prototypes)
