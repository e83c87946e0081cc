"""Graphs in files whose nodes are the samples: one's own, and those of Amazon, Coauthor, WikiCS and OGB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, Coauthor, WikiCS
from torch_geometric.utils import index_to_mask, to_undirected

from cl_as_gnn.config import GraphDataConfig
from cl_as_gnn.datasets.given import node_tensors, read_graph
from cl_as_gnn.datasets.graph_files import check_file, ensure_files, read_file, read_integers
from cl_as_gnn.datasets.graphs import GraphDataset, NodeData
from cl_as_gnn.errors import ConfigError

_MASKS = ("train_mask", "val_mask", "test_mask")
_WRITE = "torch.save(data.to_dict(), FILE)"
_DRAWN = "drawn split of a tenth, a tenth and the others of each class"


class SplitConfig(GraphDataConfig):
    split_seed: int = Field(
        0, ge=0, lt=2**31, description="which split of a graph that has several; the seed of a split that is drawn"
    )


class NodesConfig(SplitConfig):
    name: Literal["nodes"] = "nodes"


class Nodes(GraphDataset):
    """A PyG ``Data`` of one's own in the file ``data.root``, which ``torch.save(data.to_dict(), FILE)`` has written.

    Its masks ``train_mask``, ``val_mask`` and ``test_mask`` are the split, column ``data.split_seed`` of them if they
    have several. Without, a tenth of the labeled nodes of each class trains the probes, a tenth validates, and the
    others test. Labels ``y`` may be absent, or −1 where unknown.
    """

    Config = NodesConfig
    holds = "nodes"
    summary = "a PyG Data of your own, data.root=FILE.pt"

    @classmethod
    def load(cls, config: NodesConfig, progress: bool = True) -> NodeData:
        path = config.root
        if path is None:
            raise ConfigError(f"data.name=nodes reads a file: set data.root=FILE, written by {_WRITE}")
        if not path.is_file():
            raise ConfigError(f"data.root={path} is no file: name one that {_WRITE} has written")
        return _node_data(config, _own(path), path.stem, path)


class Archive(GraphDataset):
    """Base class of the graphs in PyG's ``.npz`` files, one of several by ``data.dataset``; the split is drawn."""

    holds = "nodes"
    default: ClassVar[str]
    """Which one is read without ``data.dataset``."""

    @classmethod
    def file(cls, name: str) -> str:
        """The name of its file."""
        raise NotImplementedError

    @classmethod
    def source(cls, root: str, name: str) -> Any:
        """What downloads it."""
        raise NotImplementedError

    @classmethod
    def load(cls, config: SplitConfig, progress: bool = True) -> NodeData:
        root, name = config.root or Path("data"), config.dataset or cls.default
        file = cls.file(name)
        ensure_files(root, name, [file], file, cls.source)
        path = root / name / "raw" / file
        return _node_data(config, read_file(path, lambda: _arrays(path)), name.lower(), path)


class AmazonConfig(SplitConfig):
    name: Literal["amazon"] = "amazon"


class AmazonGoods(Archive):
    """Goods bought together, ``data.dataset=Computers`` (default) or ``Photo``, from ``root/Computers/raw``.

    Without a public split: ``data.split_seed`` draws a tenth of each class to train the probes and a tenth to validate.
    """

    Config = AmazonConfig
    summary = "goods that are bought together: Amazon Computers or Photo, PyG's files"

    default = "Computers"

    @classmethod
    def file(cls, name: str) -> str:
        return f"amazon_electronics_{name.lower()}.npz"

    @classmethod
    def source(cls, root: str, name: str) -> Any:
        return _downloader(Amazon, root, name.lower())


class CoauthorConfig(SplitConfig):
    name: Literal["coauthor"] = "coauthor"


class Authors(Archive):
    """Authors who wrote together, ``data.dataset=CS`` (default) or ``Physics``, from ``root/CS/raw``.

    The split is drawn as that of ``amazon``.
    """

    Config = CoauthorConfig
    summary = "authors who wrote together: Coauthor CS or Physics, PyG's files"

    default = "CS"

    @classmethod
    def file(cls, name: str) -> str:
        return f"ms_academic_{name[:3].lower()}.npz"

    @classmethod
    def source(cls, root: str, name: str) -> Any:
        return _downloader(Coauthor, root, name)


class WikiCSConfig(SplitConfig):
    name: Literal["wikics"] = "wikics"


class WikiArticles(GraphDataset):
    """Articles of Wikipedia on computer science, undirected, from ``root/WikiCS/raw/data.json``.

    ``data.split_seed`` names one of its 20 splits into training and validation nodes; the test nodes are those of all.
    """

    Config = WikiCSConfig
    holds = "nodes"
    summary = "articles of Wikipedia with 20 splits, PyG's file"

    @classmethod
    def load(cls, config: WikiCSConfig, progress: bool = True) -> NodeData:
        root = config.root or Path("data")
        ensure_files(
            root, "WikiCS", ["data.json"], "data.json", lambda root, name: _downloader(WikiCS, f"{root}/{name}", name)
        )
        path = root / "WikiCS" / "raw" / "data.json"
        return _node_data(config, read_file(path, lambda: _wiki(json.loads(path.read_bytes()))), "wikics", path)


class OGBConfig(SplitConfig):
    name: Literal["ogb"] = "ogb"


class OGB(GraphDataset):
    """``data.dataset=ogbn-arxiv`` (default) or ``ogbn-products``, undirected, from the tables that the package ``ogb``
    unpacks into ``root/ogbn_arxiv``, with the split in them."""

    Config = OGBConfig
    holds = "nodes"
    summary = "ogbn-arxiv or ogbn-products, as the package ogb unpacks them"

    @classmethod
    def load(cls, config: OGBConfig, progress: bool = True) -> NodeData:
        name = config.dataset or "ogbn-arxiv"
        folder = (config.root or Path("data")) / name.replace("-", "_")
        splits = sorted(folder.glob("split/*/train.csv.gz"))
        if len(splits) != 1 or not (folder / "raw").is_dir():
            raise ConfigError(
                f"{folder} does not hold {name}: let ogb.nodeproppred.NodePropPredDataset({name!r}, root) fetch it, "
                "and set data.root to that root"
            )
        edges, table, labels = (folder / "raw" / f"{part}.csv.gz" for part in ("edge", "node-feat", "node-label"))
        x = read_file(table, lambda: torch.from_numpy(np.loadtxt(table, np.float32, delimiter=",", ndmin=2)))
        y = read_integers(labels, 1).view(-1)
        check_file(len(y) == len(x), labels, f"has {len(y)} rows, and {table.name} has {len(x)}")
        graph = Data(x=x, y=y, edge_index=read_integers(edges, 2).t())
        for mask, part in zip(_MASKS, ("train", "valid", "test"), strict=True):
            path = splits[0].with_name(f"{part}.csv.gz")
            rows = read_integers(path, 1).view(-1)
            check_file(int(rows.min()) >= 0 and int(rows.max()) < len(y), path, f"names a node beyond {len(y) - 1}")
            graph[mask] = index_to_mask(rows, len(y))
        _check_edges(graph, edges)
        graph.edge_index = to_undirected(graph.edge_index, num_nodes=len(y))
        return _node_data(config, graph, name, folder)


def _own(path: Path) -> Data:
    """What a run reads of a mapping with the tensors of a graph."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)  # a Data itself would be unpickled
        return Data(
            **{key: held[key] for key in ("x", "edge_index", "y", *_MASKS) if isinstance(held.get(key), Tensor)}
        )
    except Exception as error:  # torch has many for a broken file
        raise ConfigError(
            f"{path} holds no mapping to tensors ({type(error).__name__}): write it by {_WRITE}"
        ) from None


def _node_data(config: SplitConfig, graph: Data, name: str, path: Path) -> NodeData:
    """The nodes of a graph with the split of a config; a mistake names the file."""
    seed, split = config.split_seed, "given" if "train_mask" in graph else _DRAWN
    for mask in _MASKS:
        if mask in graph and graph[mask].dim() == 2:
            columns = graph[mask].size(1)
            if seed >= columns:
                raise ConfigError(f"data.split_seed={seed}: {path} has {columns} splits, use 0 to {columns - 1}")
            graph[mask], split = graph[mask][:, seed], f"{seed + 1} of {columns}"
    check_file(graph.x is None or bool(graph.x.isfinite().all()), path, "has features that are NaN or infinite")
    try:
        values = node_tensors(graph, seed)
    except ConfigError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('data: ')}") from None
    graph = read_graph(values, config)
    graph.y = values["y"]
    train, validation, test = (values[mask] for mask in _MASKS)
    return NodeData(name, graph, train, validation, test, split)


def _arrays(path: Path) -> Data:
    """The tensors of PyG's ``read_npz``: binary features, edges both ways without self-loops, classes."""
    with np.load(path) as file:  # refuses arrays of objects, which are pickles
        attributes, links = (
            sp.csr_matrix(tuple(file[f"{part}_{key}"] for key in ("data", "indices", "indptr")), file[f"{part}_shape"])
            for part in ("attr", "adj")
        )
        y = torch.from_numpy(file["labels"]).long()
    for matrix in (attributes, links):
        matrix.check_format(full_check=True)
    if links.shape != (len(y), len(y)) or attributes.shape[0] != len(y):
        raise ValueError(f"{attributes.shape[0]} rows of features and edges of {links.shape} for {len(y)} labels")
    links = links.tocoo()
    edges = torch.from_numpy(np.stack([links.row, links.col]).astype(np.int64))
    return Data(x=torch.from_numpy(attributes.toarray() > 0).float(), edge_index=to_undirected(edges), y=y)


def _wiki(held: dict[str, Any]) -> Data:
    x, y = torch.tensor(held["features"], dtype=torch.float), torch.tensor(held["labels"])
    edges = [(i, j) for i, near in enumerate(held["links"]) for j in near]
    masks = {mask: torch.tensor(held[key]).bool() for mask, key in zip(_MASKS, _WIKI_MASKS, strict=True)}
    graph = Data(
        x=x, y=y, edge_index=torch.tensor(edges).t(), **{k: m.t() if m.dim() == 2 else m for k, m in masks.items()}
    )
    if int(graph.edge_index.min()) < 0 or int(graph.edge_index.max()) >= len(x):
        raise ValueError(f"it has edges of nodes that are not among its {len(x)}")
    graph.edge_index = to_undirected(graph.edge_index, num_nodes=len(x))
    return graph


_WIKI_MASKS = ("train_masks", "val_masks", "test_mask")


def _check_edges(graph: Data, path: Path) -> None:
    low, high = int(graph.edge_index.min()), int(graph.edge_index.max())
    check_file(low >= 0 and high < len(graph.y), path, f"has edges of nodes {low} to {high} of {len(graph.y)}")


def _downloader(kind: type[Any], root: str, name: str) -> Any:
    """PyG's data set without its reader, to be asked for its download."""
    source = object.__new__(kind)
    source.root, source.name = root, name
    return source
