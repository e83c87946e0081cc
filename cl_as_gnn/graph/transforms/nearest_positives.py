from __future__ import annotations

import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.schema import NEAREST
from cl_as_gnn.graph.transforms.feature_knn import FeatureKNN
from cl_as_gnn.graph.transforms.rebatch import rebatch
from cl_as_gnn.graph.transforms.stores import node_store


@functional_transform("nearest_positives")
class NearestPositives(BaseTransform):  # type: ignore[misc]
    r"""Make each node's nearest neighbours in feature space its positives, as in `"With a Little Help from My
    Friends" <https://arxiv.org/abs/2104.14548>`_ (NNCLR) within one graph.

    Edges run from the positive (row 0) to the anchor (row 1), within one graph of a PyG batch, grouped by anchor,
    nearest first, for any layer and for :func:`cl_as_gnn.nn.functional.nt_xent`. On ``Data`` they become
    ``data.positive_index`` ``(2, n·k)``, beside ``edge_index``; on ``HeteroData`` the edges
    ``(node_type, 'nearest', node_type)``.

    Args:
        k: positives per node; a graph of k or fewer nodes uses all others.
        mutual: keep a pair only where each is among the other's k nearest.
        node_type: node type whose features are compared, on ``HeteroData``.
        backend: of :func:`cl_as_gnn.graph.knn_edges`.
    """

    def __init__(self, k: int = 1, mutual: bool = False, node_type: str | None = None, backend: str = "auto"):
        if k < 1:
            raise ValueError(f"NearestPositives expects k >= 1, got {k}")
        self.k, self.mutual, self.node_type, self.backend = k, mutual, node_type, backend

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        nodes = node_store("NearestPositives", data, self.node_type)
        if "x" not in nodes or nodes.x is None:
            raise ValueError("NearestPositives expects data.x, got none: add node features")
        edge_index, _ = FeatureKNN(self.k, backend=self.backend).edges(nodes)
        if self.mutual:
            source, target = edge_index
            n = nodes.x.size(0)
            edge_index = edge_index[:, torch.isin(source * n + target, target * n + source)]
        if isinstance(data, HeteroData):
            data[self.node_type, NEAREST, self.node_type].edge_index = edge_index
        else:
            data.positive_index = edge_index
        return rebatch(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, mutual={self.mutual})"
