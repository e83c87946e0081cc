"""A random graph of communities whose nodes hold words, made on the spot: a citation graph without files."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from cl_as_gnn.config import GraphDataConfig
from cl_as_gnn.datasets.graphs import GraphDataset, NodeData, nodes_of

CLASSES, NODES, WORDS = 6, 1200, 600
TRAIN, VALIDATION = 5, 50  # nodes of each class; the others are test nodes
_OWN_WORDS, _DRAWN, _OWN_SHARE = 40, 15, 0.3  # topical words of a class, words of a node, how many of these are topical
_NEIGHBORS, _WITHIN = 2, 0.65  # edges drawn from each node, and how many of these stay in its class


class CommunitiesConfig(GraphDataConfig):
    name: Literal["communities"] = "communities"


class Communities(GraphDataset):
    """Six communities of 200 nodes, the same graph every time: a stochastic block model with words as features.

    Each node draws two edges, 65 % of them within its community, and 15 of 600 words, 30 % of them among the 40 of its
    community. Of each class 5 nodes are for training a probe, 50 for validation and 145 for the test.
    """

    Config = CommunitiesConfig
    holds = "nodes"
    summary = "a random graph of six communities with words, 1,200 nodes, nothing to download"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> NodeData:
        generator = torch.Generator().manual_seed(0)

        def draw(high: int, *size: int) -> Tensor:
            return torch.randint(high, size, generator=generator)

        def often(share: float, *size: int) -> Tensor:
            return torch.rand(size, generator=generator) < share

        y = torch.arange(NODES) % CLASSES
        within = draw(NODES // CLASSES, NODES, _NEIGHBORS) * CLASSES + y[:, None]
        target = torch.where(often(_WITHIN, NODES, _NEIGHBORS), within, draw(NODES, NODES, _NEIGHBORS))
        edges = torch.stack([torch.arange(NODES).repeat_interleave(_NEIGHBORS), target.view(-1)])
        own = y[:, None] * _OWN_WORDS + draw(_OWN_WORDS, NODES, _DRAWN)
        words = torch.where(often(_OWN_SHARE, NODES, _DRAWN), own, draw(WORDS, NODES, _DRAWN))
        x = torch.zeros(NODES, WORDS).scatter_(1, words, 1.0)
        rank = torch.arange(NODES) // CLASSES  # within the class
        graph = Data(x=x, edge_index=to_undirected(edges, num_nodes=NODES), y=y, train_mask=rank < TRAIN)
        validation = (rank >= TRAIN) & (rank < TRAIN + VALIDATION)
        return nodes_of(config, graph, "communities", validation, rank >= TRAIN + VALIDATION)
