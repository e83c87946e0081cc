"""Labeled graphs: one whose nodes are the samples, or many that are samples themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.utils import degree, remove_self_loops

from cl_as_gnn.config import GraphDataConfig
from cl_as_gnn.datasets.base import Dataset
from cl_as_gnn.datasets.graph_files import read_planetoid, read_tu
from cl_as_gnn.datasets.graph_recipes import graph_recipe
from cl_as_gnn.registry import DATASETS

PLANETOID = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
MAX_DEGREE = 64
"""Nodes without features get their one-hot degree, at most this one."""


@dataclass(frozen=True)
class NodeData:
    """One graph. ``graph`` has ``x`` ``(N, f)``, ``edge_index`` and ``y`` ``(N,)``; the masks are bool ``(N,)``, and
    ``split`` says in a few words where they are from."""

    name: str
    graph: Data
    train: Tensor
    validation: Tensor
    test: Tensor
    split: str = "public"


@dataclass(frozen=True)
class GraphSet:
    """Many graphs as one disconnected ``graph`` with ``x``, ``edge_index`` and ``batch``, the graph of each node,
    ascending; ``labels`` ``(G,)`` are the classes of the graphs."""

    name: str
    graph: Data
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class GraphDataset(Dataset):
    """Base class of sets of graphs, whose recipes are in :mod:`cl_as_gnn.datasets.graph_recipes`."""

    @classmethod
    def recipe(cls, data: Mapping[str, Any], method: str | None) -> Mapping[str, Any]:
        name = data["name"] if data["name"] != "planetoid" else str(data.get("dataset", "Cora")).lower()
        return graph_recipe(name, method)


class KarateConfig(GraphDataConfig):
    name: Literal["karate"] = "karate"


class Karate(GraphDataset):
    """Zachary's karate club with PyG's labels: 4 nodes to train a probe on, 30 to test it."""

    Config = KarateConfig
    holds = "nodes"
    summary = "Zachary's karate club, 34 nodes, nothing to download"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> NodeData:
        graph = KarateClub()[0]
        return nodes_of(config, graph, "karate", torch.zeros_like(graph.train_mask), ~graph.train_mask)


class CitationConfig(GraphDataConfig):
    name: Literal["cora", "citeseer", "pubmed", "planetoid"] = "planetoid"


class Citations(GraphDataset):
    """Cora, CiteSeer and PubMed with their public split, from ``root/Cora/raw`` and so on."""

    Config = CitationConfig
    holds = "nodes"
    summary = "the citation graphs Cora, CiteSeer and PubMed, PyG's files"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> NodeData:
        dataset = PLANETOID.get(config.name) or config.dataset or "Cora"
        graph = read_planetoid(config.root or Path("data"), dataset)
        return nodes_of(config, graph, dataset.lower(), graph.val_mask, graph.test_mask)


class TUConfig(GraphDataConfig):
    name: Literal["tu"] = "tu"


class TU(GraphDataset):
    """The graphs of a TUDataset, MUTAG by default, from ``root/MUTAG/raw``."""

    Config = TUConfig
    holds = "graphs"
    summary = "whole graphs of any TUDataset (MUTAG, PROTEINS, …), PyG's files"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> GraphSet:
        dataset = config.dataset or "MUTAG"
        graph, labels = read_tu(config.root or Path("data"), dataset)
        if graph.x is None:
            degrees = degree(graph.edge_index[1], len(graph.batch), torch.long)
            graph.x = one_hot_degree(degrees)
        elif config.normalize:
            graph.x = row_normalized(graph.x)
        return GraphSet(dataset, graph, labels)


def load_graphs(config: GraphDataConfig) -> NodeData | GraphSet:
    """Read the graphs that a config names, without self-loops (GNNs add their own). ``normalize`` scales
    the features of each node to sum to one."""
    data: NodeData | GraphSet = DATASETS[config.name].load(config)
    return data


def nodes_of(config: GraphDataConfig, graph: Data, name: str, validation: Tensor, test: Tensor) -> NodeData:
    """A labeled graph with ``train_mask`` and these masks, without self-loops, its features scaled if so configured."""
    edge_index, _ = remove_self_loops(graph.edge_index)
    x = row_normalized(graph.x) if config.normalize else graph.x
    return NodeData(name, Data(x=x, edge_index=edge_index, y=graph.y), graph.train_mask, validation, test)


def one_hot_degree(degrees: Tensor) -> Tensor:
    """Features of nodes without any: the one-hot degree, at most ``MAX_DEGREE``."""
    return F.one_hot(degrees.clamp(max=MAX_DEGREE)).float()


def row_normalized(x: Tensor) -> Tensor:
    """Features of which each row sums to one; rows that sum to nothing stay."""
    out: Tensor = x / x.sum(1, keepdim=True).clamp(min=1e-12)
    return torch.where(x.sum(1, keepdim=True) > 0, out, x)
