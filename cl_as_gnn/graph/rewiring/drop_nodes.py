from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.rewiring.stores import each_graph, probability


@functional_transform("drop_nodes")
class DropNodes(BaseTransform):  # type: ignore[misc]
    r"""Take out each node with probability p, with its edges: the node dropping of `"Graph Contrastive Learning with
    Augmentations" <https://arxiv.org/abs/2010.13902>`_ (GraphCL). PyG's ``dropout_node`` keeps the node and drops its
    edges alone.

    Works on ``Data`` and, in every node type, on ``HeteroData``, graph by graph on a ``Batch``; everything that has one
    entry a node or an edge is cut. The nodes that stay are numbered anew, in their order. A graph may lose all its
    nodes.

    Args:
        p: probability of taking a node out.
    """

    def __init__(self, p: float = 0.2):
        self.p = probability("DropNodes", p)

    def _stay(self, store: Any) -> Tensor:
        if store.num_nodes is None:
            raise ValueError("DropNodes cannot tell how many nodes there are: give them features, or set num_nodes")
        like = next((value for value in store.values() if isinstance(value, Tensor)), torch.empty(0))
        return torch.rand(store.num_nodes, device=like.device) >= self.p

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        if isinstance(data, Batch):
            return each_graph(self, data)
        if isinstance(data, HeteroData):
            return data.subgraph({kind: self._stay(data[kind]) for kind in data.node_types})
        return data.subgraph(self._stay(data.node_stores[0]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
