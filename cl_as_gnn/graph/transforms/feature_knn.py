from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.knn import knn_edges
from cl_as_gnn.graph.schema import AFFINITY
from cl_as_gnn.graph.transforms.rebatch import rebatch
from cl_as_gnn.graph.transforms.stores import edge_keys, node_store


@functional_transform("feature_knn")
class FeatureKNN(BaseTransform):  # type: ignore[misc]
    r"""Add the k-nearest-neighbour graph of the node features by cosine similarity, by faiss; PyG's ``KNNGraph``
    is for positions and requires a compiled extension.

    Edges run from the k nearest others (row 0) to each node (row 1), within the same graph of a PyG batch. On ``Data``
    they join ``edge_index`` (existing edges are kept and not repeated) or, with ``replace``, take its place.
    On ``HeteroData`` they are the edges ``(node_type, relation, node_type)``.

    ``edge_weight`` holds the cosine similarities of the new edges where these are alone (``replace``, ``HeteroData``)
    and where ``data`` already has edge weights.

    Args:
        k: neighbours per node; a graph of k or fewer nodes uses all of them.
        replace: drop the old edges of a ``Data`` and their attributes.
        node_type: node type whose features are compared, on ``HeteroData``.
        relation: name of the relation, on ``HeteroData``.
        backend: of :func:`cl_as_gnn.graph.knn_edges`.
    """

    def __init__(
        self,
        k: int = 10,
        replace: bool = False,
        node_type: str | None = None,
        relation: str = AFFINITY[1],
        backend: str = "auto",
    ):
        if k < 1:
            raise ValueError(f"FeatureKNN expects k >= 1, got {k}")
        self.k, self.replace, self.node_type, self.relation, self.backend = k, replace, node_type, relation, backend

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        nodes = node_store("FeatureKNN", data, self.node_type)
        if "x" not in nodes or nodes.x is None:
            raise ValueError("FeatureKNN expects data.x, got none: add node features")
        edge_index, similarity = self.edges(nodes)
        if isinstance(data, HeteroData):
            store = data[self.node_type, self.relation, self.node_type]
            store.edge_index, store.edge_weight = edge_index, similarity
        elif self.replace or data.edge_index is None:
            for key in edge_keys(data):
                del data[key]
            data.edge_index, data.edge_weight = edge_index, similarity
        else:
            self._join(data, edge_index, similarity)
        return rebatch(data)

    def edges(self, nodes: Any) -> tuple[Tensor, Tensor]:
        """Edges from the k nearest others to each node of a storage with ``.x``, and their cosine similarities."""
        x, batch = nodes.x, nodes.batch if "batch" in nodes else None
        if x.layout != torch.strided or x.dim() != 2:
            raise ValueError(
                f"FeatureKNN expects dense features of shape (n, d), got shape {tuple(x.shape)} in "
                f"{str(x.layout).removeprefix('torch.')}: pass x.to_dense(), or x.view(-1, 1)"
            )
        if batch is None:
            graphs = [torch.arange(x.size(0), device=x.device)]
        else:
            graphs = list(torch.argsort(batch, stable=True).split(torch.bincount(batch).tolist()))
        edges, similarity = [torch.empty(2, 0, dtype=torch.long, device=x.device)], [x.new_empty(0)]
        for node in graphs:
            if node.numel() > 1:
                found, weight = knn_edges(x[node], min(self.k, node.numel() - 1), self.backend)
                edges.append(node[found])
                similarity.append(weight.to(x.dtype))
        return torch.cat(edges, dim=1), torch.cat(similarity)

    @staticmethod
    def _join(data: Data, edge_index: Tensor, similarity: Tensor) -> None:
        other = [key for key in edge_keys(data) if key != "edge_weight"]
        if other:
            raise ValueError(
                f"FeatureKNN expects no edge attributes beside edge_weight, got {', '.join(other)}: use replace=True"
            )
        n = data.num_nodes
        old = data.edge_index.long()
        new = ~torch.isin(edge_index[0] * n + edge_index[1], old[0] * n + old[1])
        if "edge_weight" in data and data.edge_weight is not None:
            data.edge_weight = torch.cat([data.edge_weight, similarity[new].to(data.edge_weight.dtype)])
        data.edge_index = torch.cat([data.edge_index, edge_index[:, new].to(data.edge_index.dtype)], dim=1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, replace={self.replace})"
