from __future__ import annotations

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.rewiring.stores import each_graph, probability


@functional_transform("drop_nodes")
class DropNodes(BaseTransform):  # type: ignore[misc]
    r"""Take out each node with probability p, with its edges: the node dropping of `"Graph Contrastive Learning with
    Augmentations" <https://arxiv.org/abs/2010.13902>`_ (GraphCL). PyG's ``dropout_node`` keeps the node and drops its
    edges alone.

    Works on ``Data``, and graph by graph on a ``Batch``; everything that has one entry a node or an edge is cut. The
    nodes that stay are numbered anew, in their order. A graph may lose all its nodes.

    Args:
        p: probability of taking a node out.
    """

    def __init__(self, p: float = 0.2):
        self.p = probability("DropNodes", p)

    def forward(self, data: Data) -> Data:
        if not isinstance(data, Data):
            raise ValueError(f"DropNodes is for Data, got {type(data).__name__}: name one type of node after the other")
        if isinstance(data, Batch):
            return each_graph(self, data)
        stay = torch.rand(data.num_nodes, device=data.edge_index.device) >= self.p
        cut: Data = data.subgraph(stay)
        return cut

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
