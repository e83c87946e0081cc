"""Labeled graphs: one whose nodes are the samples, or many that are samples themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub, Planetoid, TUDataset
from torch_geometric.utils import degree, remove_self_loops

from cl_as_gnn.config import GraphDataConfig
from cl_as_gnn.datasets.base import Dataset
from cl_as_gnn.datasets.graph_recipes import graph_recipe
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS

PLANETOID = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
MAX_DEGREE = 64
"""Nodes without features get their one-hot degree, at most this one."""


@dataclass(frozen=True)
class NodeData:
    """One graph. ``graph`` has ``x`` ``(N, f)``, ``edge_index`` and ``y`` ``(N,)``; the masks are bool ``(N,)``."""

    name: str
    graph: Data
    train: Tensor
    validation: Tensor
    test: Tensor


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
        return _nodes(config, graph, "karate", torch.zeros_like(graph.train_mask), ~graph.train_mask)


class CitationConfig(GraphDataConfig):
    name: Literal["cora", "citeseer", "pubmed", "planetoid"] = "planetoid"


class Citations(GraphDataset):
    """Cora, CiteSeer and PubMed with their public split, from ``root/Cora/raw`` and so on."""

    Config = CitationConfig
    holds = "nodes"
    summary = "the citation graphs Cora, CiteSeer and PubMed, PyG's files"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> NodeData:
        root = config.root or Path("data")
        dataset = PLANETOID.get(config.name) or config.dataset or "Cora"
        files = f"the eight files ind.{dataset.lower()}.x, .tx, .allx, .y, .ty, .ally, .graph and .test.index"
        graph = _read(lambda: _Planetoid(str(root), dataset), root, dataset, files)[0]
        return _nodes(config, graph, dataset.lower(), graph.val_mask, graph.test_mask)


class TUConfig(GraphDataConfig):
    name: Literal["tu"] = "tu"


class TU(GraphDataset):
    """The graphs of a TUDataset, MUTAG by default, from ``root/MUTAG/raw``."""

    Config = TUConfig
    holds = "graphs"
    summary = "whole graphs of any TUDataset (MUTAG, PROTEINS, …), PyG's files"

    @classmethod
    def load(cls, config: GraphDataConfig, progress: bool = True) -> GraphSet:
        root, dataset = config.root or Path("data"), config.dataset or "MUTAG"
        graphs = _read(lambda: _TU(str(root), dataset), root, dataset, f"{dataset}_A.txt and its other files")
        if len(graphs) == 0:
            raise ConfigError(f"data.dataset={dataset} under data.root={root} holds no graphs")
        data, slices = graphs._data, graphs.slices
        nodes = slices["x"].diff() if "x" in slices else torch.tensor(data._num_nodes)
        batch = torch.arange(len(graphs)).repeat_interleave(nodes)
        # PyG numbers the nodes of each graph from 0.
        first = (nodes.cumsum(0) - nodes).repeat_interleave(slices["edge_index"].diff())
        edge_index, _ = remove_self_loops(data.edge_index + first)
        if data.x is None:
            x = F.one_hot(degree(edge_index[1], len(batch), torch.long).clamp(max=MAX_DEGREE)).float()
        else:
            x = _row_normalized(data.x) if config.normalize else data.x
        return GraphSet(dataset, Data(x=x, edge_index=edge_index, batch=batch), data.y.view(-1).long())


def load_graphs(config: GraphDataConfig) -> NodeData | GraphSet:
    """Read the graphs that a config names, through PyG, without self-loops (GNNs add their own). ``normalize`` scales
    the features of each node to sum to one."""
    data: NodeData | GraphSet = DATASETS[config.name].load(config)
    return data


def _nodes(config: GraphDataConfig, graph: Data, name: str, validation: Tensor, test: Tensor) -> NodeData:
    edge_index, _ = remove_self_loops(graph.edge_index)
    x = _row_normalized(graph.x) if config.normalize else graph.x
    return NodeData(name, Data(x=x, edge_index=edge_index, y=graph.y), graph.train_mask, validation, test)


def _row_normalized(x: Tensor) -> Tensor:
    out: Tensor = x / x.sum(1, keepdim=True).clamp(min=1e-12)
    return torch.where(x.sum(1, keepdim=True) > 0, out, x)


class _Elsewhere:
    """PyG writes a processed copy beside the raw files, or, without the permission, into a temporary folder."""

    @cached_property
    def processed_dir(self) -> str:
        beside: str = super().processed_dir  # type: ignore[misc]
        parent = Path(beside).parent
        if not parent.is_dir() or os.access(parent, os.W_OK):
            return beside
        self._kept = TemporaryDirectory(prefix="clgnn-")
        return self._kept.name


class _Planetoid(_Elsewhere, Planetoid):  # type: ignore[misc]
    pass


class _TU(_Elsewhere, TUDataset):  # type: ignore[misc]
    pass


def _read(build: Callable[[], Any], root: Path, dataset: str, files: str) -> Any:
    """Build a PyG data set without output; PyG tries to download missing files."""
    raw = root / dataset / "raw"
    there = raw.is_dir() and any(raw.iterdir())
    made = [path for path in (raw, raw.parent, root) if not path.exists()]
    try:
        with redirect_stderr(StringIO()):
            return build()
    except Exception as error:  # what PyG raises depends on the file that is wrong and on the network
        for path in made:  # PyG creates folders before it downloads
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        wrong = f"cannot be read from {raw} ({type(error).__name__}: {reason}): it expects {files} there"
        absent = f"is not under data.root={root} and could not be downloaded ({reason}): put {files} into {raw}"
        raise ConfigError(f"{dataset} {wrong if there else absent}") from error
