from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.graph.transforms import oracle_edges
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.gcn import DiffusionConfig, DiffusionMethod


class OracleConfig(DiffusionConfig):
    name: Literal["oracle"] = "oracle"
    purity: float = Field(1.0, ge=0, le=1, description="share of the k edges per sample that join samples of one label")
    gate: float = Field(0.0, ge=0, le=1, description="0 by default: the gate measures kNN neighbors, not these edges")


class Oracle(DiffusionMethod):
    r"""``gcn`` along edges of known purity, an upper bound for a kNN graph of that purity.

    :func:`cl_as_gnn.graph.transforms.oracle_edges` draws the k edges of each sample, of equal weight: the share
    ``purity`` from samples of its label, the rest from other labels. It reads the training labels: a control, not a
    self-supervised method. A sample without a label (−1) attracts to its own views only.
    """

    config: OracleConfig
    Config = OracleConfig
    attracts = "L-hop diffusion over edges within the label, a known share of them corrupted (reads labels)"
    source = "this package; a control for gcn"
    reads_labels = True

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        labels = self.labels_of(batch)
        if batch.progress < self.config.start:
            return data
        return self.join(data, *oracle_edges(labels, batch.sample, self.config.k, self.config.purity))
