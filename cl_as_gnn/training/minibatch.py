"""Measurements of the minibatch graph during training; no method sees these labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from cl_as_gnn.evaluation import dirichlet_energy, effective_rank, graph_mismatch
from cl_as_gnn.graph import augmentation_edges, knn_edges
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY
from cl_as_gnn.graph.transforms import sample_prototypes

QUANTITIES = ("graph_energy", "graph_rank", "graph_mismatch", "graph_purity")
_K = 5


@dataclass
class Minibatch:
    """The nodes of a step, detached from autograd: V views of each of B samples."""

    x: Tensor  # features that the messages act on, (V·B, d), view-major
    num_views: int
    labels: Tensor  # of the samples, (B,), −1 where unknown
    affinity: tuple[Tensor, Tensor] | None  # edges and weights between samples, if the method attracts along them

    @classmethod
    def of(cls, data: HeteroData, labels: Tensor) -> Minibatch:
        """Take the nodes from the graph of a step, without computing anything."""
        kind = SAMPLE_AFFINITY
        affinity = (data[kind].edge_index, data[kind].edge_weight) if kind in data.edge_types else None
        return cls(data["view"].x.detach(), int(data.num_views), labels, affinity)

    @torch.no_grad()
    def purity(self) -> Tensor:
        """Compute the share of edge weight within a class, a scalar on the device; NaN without labeled edges."""
        if self.affinity is not None:
            (source, target), weight = self.affinity
        elif self.labels.numel() < 2:
            return self.x.new_full((), math.nan)
        else:
            k = min(_K, self.labels.numel() - 1)
            (source, target), similarity = knn_edges(sample_prototypes(self.x, self.num_views), k)
            weight = torch.ones_like(similarity)
        source, target = self.labels[source], self.labels[target]
        weight = weight * ((source >= 0) & (target >= 0))
        return (weight * (source == target)).sum() / weight.sum()

    def quantities(self, temperature: float) -> dict[str, float | None]:
        """Compute ``QUANTITIES`` with unit features and τ of the complete affinity graph; ``None`` where undefined."""
        x = F.normalize(self.x.float(), dim=1)
        if self.num_views < 2 or not x.any():
            return dict.fromkeys(QUANTITIES)
        edges = augmentation_edges(self.labels.numel(), self.num_views, x.device)
        mismatch = graph_mismatch(x, edges, temperature=temperature)
        values = dirichlet_energy(x, edges), effective_rank(x), mismatch, float(self.purity())
        return {name: None if math.isnan(v) else v for name, v in zip(QUANTITIES, values, strict=True)}
