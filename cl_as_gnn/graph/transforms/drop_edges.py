from __future__ import annotations

import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import dropout_edge

from cl_as_gnn.graph.transforms.rebatch import rebatch
from cl_as_gnn.graph.transforms.stores import edge_keys, probability


@functional_transform("drop_edges")
class DropEdges(BaseTransform):  # type: ignore[misc]
    r"""Drop each edge with probability p, with its attributes: PyG's ``dropout_edge`` as a
    transform, the corruption of `"DropEdge: Towards Deep Graph Convolutional Networks on Node Classification"
    <https://arxiv.org/abs/1907.10903>`_ and of `GRACE <https://arxiv.org/abs/2006.04131>`_.

    Works on ``Data`` and, in every edge type, on ``HeteroData``; a ``Batch`` stays one. The input keeps its edges.

    Args:
        p: probability of dropping an edge.
        force_undirected: drop or keep both directions of an edge together (``Data`` of an undirected graph).
    """

    def __init__(self, p: float = 0.5, force_undirected: bool = False):
        self.p = probability("DropEdges", p)
        self.force_undirected = force_undirected

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        if self.force_undirected and isinstance(data, HeteroData):
            raise ValueError(
                "DropEdges(force_undirected=True) expects a Data, got a HeteroData, whose edges have a direction"
            )
        for store in data.edge_stores:
            if "edge_index" not in store:
                raise ValueError(f"DropEdges expects an edge_index, got {list(store.keys())}")
            keys = edge_keys(store)
            edge_index, kept = dropout_edge(store.edge_index, self.p, self.force_undirected)
            if self.force_undirected and self.p > 0:
                # Each pair is returned in both directions, a self-loop twice.
                again = torch.arange(edge_index.size(1), device=edge_index.device) >= edge_index.size(1) // 2
                once = ~(again & (edge_index[0] == edge_index[1]))
                edge_index, kept = edge_index[:, once], kept[once]
            for key in keys:
                store[key] = store[key][kept]
            store.edge_index = edge_index
        return rebatch(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
