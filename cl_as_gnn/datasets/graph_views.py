"""Random views of graphs, stacked as one disconnected graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import Compose
from torch_geometric.utils.sparse import cat

from cl_as_gnn.config import GraphAugmentConfig
from cl_as_gnn.datasets.graphs import GraphSet, NodeData
from cl_as_gnn.graph import DropEdges, DropNodes, MaskFeatures

SPARSE_BELOW = 0.1
"""Density of node features below which their views are kept as a sparse matrix."""


def stack(views: Sequence[Data], graphs: int = 1) -> Data:
    """Views of the same ``graphs`` graphs as one disconnected graph, view-major in its nodes and in its graphs."""
    edges, batches, first = [], [], 0
    for position, view in enumerate(views):
        edges.append(view.edge_index + first)
        if view.batch is not None:
            batches.append(view.batch + position * graphs)
        first += view.x.size(0)
    parts = [view.x for view in views]
    x = torch.cat(parts) if parts[0].layout == torch.strided else cat(parts, dim=0)
    return Data(x=x, edge_index=torch.cat(edges, 1), batch=torch.cat(batches) if batches else None)


class _Views(nn.Module):
    """Graphs on the training device and the transforms that corrupt them: view v uses transform v modulo 2."""

    def __init__(self, graph: Data, config: GraphAugmentConfig, mode: str):
        super().__init__()
        probabilities = (config.drop_node, config.drop_edge, config.mask_feature)
        pairs = [p if isinstance(p, tuple) else (p, p) for p in probabilities]
        self.transforms = []
        for nodes, edges, features in zip(*pairs, strict=True):
            steps = (DropNodes(nodes), DropEdges(edges), MaskFeatures(features, mode))
            self.transforms.append(Compose([step for step in steps if step.p > 0]))
        self.x = nn.Buffer(graph.x, persistent=False)
        self.edge_index = nn.Buffer(graph.edge_index, persistent=False)

    def corrupt(self, graph: Data, num_views: int) -> list[Data]:
        """Draw ``num_views`` independent views."""
        return [self.transforms[view % 2](copy.copy(graph)) for view in range(num_views)]


class NodeViews(_Views):
    """Views of one graph whose nodes are the samples: edges are dropped and feature channels masked, as in `GRACE
    <https://arxiv.org/abs/2006.04131>`_. Sparse features (bags of words) stay a CSR matrix.
    """

    def __init__(self, data: NodeData, config: GraphAugmentConfig):
        graph = data.graph
        if graph.x.count_nonzero() < SPARSE_BELOW * graph.x.numel():
            graph = Data(x=graph.x.to_sparse_csr(), edge_index=graph.edge_index)
        super().__init__(graph, config, mode="col")

    @torch.no_grad()
    def forward(self, sample: Tensor, num_views: int) -> Data:
        """Views of the whole graph; node v·N + i is view v of node i.

        The encoder sees the whole graph and returns the features of the nodes to contrast, ``sample`` ``(B,)``, in
        ``.chosen`` ``(V·B,)``, view-major. ``.links`` ``(2, E)`` are the edges among them, before any is dropped, as
        positions in ``sample``.
        """
        views = stack(self.corrupt(Data(x=self.x, edge_index=self.edge_index), num_views))
        position = sample.new_full((self.x.size(0),), -1)
        position[sample] = torch.arange(len(sample), device=sample.device)
        views.links = position[self.edge_index]
        if len(sample) < self.x.size(0):
            views.links = views.links[:, (views.links >= 0).all(0)]
        first = torch.arange(num_views, device=sample.device).unsqueeze(1) * self.x.size(0)
        views.chosen = (first + sample).flatten()
        return views


class GraphViews(_Views):
    """Views of whole graphs: nodes and edges are dropped, all features of a node masked, as in `GraphCL
    <https://arxiv.org/abs/2010.13902>`_.
    """

    def __init__(self, data: GraphSet, config: GraphAugmentConfig):
        super().__init__(data.graph, config, mode="row")
        self.size = len(data)
        self.batch = nn.Buffer(data.graph.batch, persistent=False)

    def take(self, sample: Tensor) -> Data:
        """The graphs ``sample`` ``(B,)`` as one graph, in that order."""
        position = self.batch.new_full((self.size,), -1)
        position[sample] = torch.arange(len(sample), device=sample.device)
        chosen = position[self.batch]
        node = chosen >= 0
        edge = node[self.edge_index[0]]
        number = node.cumsum(0) - 1
        return Data(x=self.x[node], edge_index=number[self.edge_index[:, edge]], batch=chosen[node])

    @torch.no_grad()
    def forward(self, sample: Tensor, num_views: int) -> Data:
        """Views of the graphs ``sample`` ``(B,)``: graph v·B + s is view v of graph s; ``.num_graphs`` is V·B."""
        views = stack(self.corrupt(self.take(sample), num_views), len(sample))
        views.num_graphs = num_views * len(sample)
        return views
