from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch_geometric.data import HeteroData

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.transforms import oracle_edges
from cl_as_gnn.methods.base import Batch
from cl_as_gnn.methods.gcn import DiffusionConfig, DiffusionMethod


class OracleConfig(DiffusionConfig):
    """Settings of diffusion over edges of known purity."""

    name: Literal["oracle"] = "oracle"
    purity: float = Field(1.0, ge=0, le=1, description="share of the k edges a sample that join samples of one label")
    gate: float = Field(0.0, ge=0, le=1, description="0: the edges are not the neighbours that a gate would judge")


class Oracle(DiffusionMethod[OracleConfig]):
    r"""``gcn`` along edges whose purity is known: what a kNN graph of that purity could be worth.

    Of the k edges of each sample the share ``purity`` comes from samples of its own label and the rest from samples of
    other labels, with equal weights, as :func:`cl_as_gnn.graph.transforms.oracle_edges` draws them. It reads the
    training labels: an instrument, not a self-supervised method. A sample without a label (−1) has its own views alone.
    """

    Config = OracleConfig
    attracts = "L-hop diffusion over edges within the label, a known share of them corrupted (reads labels)"
    source = "this package; a control for gcn"

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        if batch.labels is None:
            raise ConfigError("method.name=oracle expects labels: choose a method without, for example gcn")
        if batch.progress < self.config.start:
            return data
        return self.join(data, *oracle_edges(batch.labels, batch.sample, self.config.k, self.config.purity))
