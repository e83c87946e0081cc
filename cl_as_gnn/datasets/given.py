"""Images and graphs that were passed from Python. A run keeps small ones in its folder, to be read again from there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, remove_self_loops

from cl_as_gnn.config import GraphDataConfig, PhotoConfig
from cl_as_gnn.datasets.base import ImageDataset
from cl_as_gnn.datasets.graphs import GraphDataset, GraphSet, NodeData, one_hot_degree, row_normalized
from cl_as_gnn.datasets.images import Catalog, Parts, Split, stratified
from cl_as_gnn.datasets.photos import read_photos
from cl_as_gnn.datasets.store import ItemStore
from cl_as_gnn.errors import AbsentError, ConfigError, RunError
from cl_as_gnn.held import find

KEPT = 256 * 2**20
"""Bytes of data that a run keeps in its folder at most."""
_SHARE = 0.1  # of the labeled nodes, for training, and as much for validation
_CONTENT = Field("", description="digest of what was passed")
Tensors = dict[str, Tensor]


class GivenConfig(PhotoConfig):
    name: Literal["given"] = "given"
    content: str = _CONTENT


class GivenNodesConfig(GraphDataConfig):
    name: Literal["given_nodes"] = "given_nodes"
    content: str = _CONTENT


class GivenGraphsConfig(GraphDataConfig):
    name: Literal["given_graphs"] = "given_graphs"
    content: str = _CONTENT


@dataclass
class GivenImages:
    """Pictures by their position, with labels: what is held of a set of images."""

    items: Callable[[int], Any]
    catalog: Catalog
    channels: int
    _read: dict[str, Parts] = field(default_factory=dict)

    def parts(self, config: GivenConfig, progress: bool = False) -> Parts:
        """The images as a config has them read; once, if they stay in memory."""
        key = repr((config.image_size, config.memory, config.max_broken, config.classes, config.split_seed))
        if key not in self._read:
            store = ItemStore(self.items, len(self.catalog.labels), config.max_broken, config.content)
            store.shape = (len(store), self.channels, 0, 0)
            self._read = {key: read_photos(config, store, self.catalog, progress)}
        return self._read[key]


class Given(ImageDataset):
    """Images of a Python session: tensors, arrays or a torch ``Dataset``."""

    Config = GivenConfig
    summary = "images that were passed to cl_as_gnn.train"
    passed = True

    @classmethod
    def parts(cls, config: GivenConfig, progress: bool) -> Parts:
        if (given := find(config.content)) is not None:
            return given.parts(config, progress)  # type: ignore[no-any-return]
        return _parts(*_kept(config))


class GivenNodes(GraphDataset):
    """One ``Data`` of a Python session, whose nodes are the samples."""

    Config = GivenNodesConfig
    holds = "nodes"
    summary = "the nodes of a Data that was passed to cl_as_gnn.train"
    passed = True

    @classmethod
    def load(cls, config: GivenNodesConfig, progress: bool = True) -> NodeData:
        graph, values = _graph_of(config)
        graph.y = values["y"]
        return NodeData("given", graph, values["train_mask"], values["val_mask"], values["test_mask"])


class GivenGraphs(GraphDataset):
    """A list of ``Data`` of a Python session, each a sample."""

    Config = GivenGraphsConfig
    holds = "graphs"
    summary = "the graphs of a list of Data that was passed to cl_as_gnn.train"
    passed = True

    @classmethod
    def load(cls, config: GivenGraphsConfig, progress: bool = True) -> GraphSet:
        graph, values = _graph_of(config)
        graph.batch = values["batch"]
        return GraphSet("given", graph, values["y"])


def node_tensors(graph: Data, seed: int = 0) -> Tensors:
    """What a run reads of a graph: features, edges, labels (−1 where unknown) and masks.

    Without ``train_mask``, a tenth of the labeled nodes of each class trains the probes, a tenth validates and the
    others test, the same for the same seed. Nodes without features get their one-hot degree.

    Raises:
        ConfigError: a tensor has another shape.
    """
    n = _nodes_of(graph)
    y = torch.full((n,), -1) if graph.y is None else _classes_of(graph.y, n, "node")
    out = {"x": _features(graph, n), "edge_index": graph.edge_index.cpu(), "y": y}
    named = {name: graph[name].cpu().bool() for name in ("train_mask", "val_mask", "test_mask") if name in graph}
    known = y >= 0
    if not bool(known.any()):
        return out | dict.fromkeys(("train_mask", "val_mask", "test_mask"), known)
    if "train_mask" in named:
        none = torch.zeros_like(known)
        if any(mask.shape != (n,) for mask in named.values()):
            raise ConfigError(f"data: expects masks of one dimension, one entry for each of the {n} nodes")
        train, validation = named["train_mask"] & known, named.get("val_mask", none) & known
        test = named.get("test_mask", ~(train | validation)) & known
        if not (bool(train.any()) and bool(test.any())):
            raise ConfigError("data: train_mask and test_mask hold no labeled node: leave them out, or mark some")
        return out | {"train_mask": train, "val_mask": validation, "test_mask": test}
    at, count = known.nonzero().view(-1), int(y.max()) + 1
    names = tuple(map(str, range(count)))
    rest, train_at = stratified(y[at], _SHARE, names, "data: a tenth as training nodes", seed)
    _, validation_at = stratified(y[at][rest], _SHARE / (1 - _SHARE), names, "data: a tenth as validation nodes", seed)
    masks = {name: torch.zeros_like(known) for name in ("train_mask", "val_mask")}
    masks["train_mask"][at[train_at]] = True
    masks["val_mask"][at[rest[validation_at]]] = True
    return out | masks | {"test_mask": known & ~masks["train_mask"] & ~masks["val_mask"]}


def graph_tensors(graphs: list[Data]) -> Tensors:
    """What a run reads of many graphs, as one disconnected graph; ConfigError as of :func:`node_tensors`."""
    sizes = torch.tensor([_nodes_of(graph) for graph in graphs])
    first = sizes.cumsum(0) - sizes
    edges = [graph.edge_index.cpu() + start for graph, start in zip(graphs, first.tolist(), strict=True)]
    bare = all(graph.x is None for graph in graphs)
    x = None if bare else torch.cat([_features(graph, int(n)) for graph, n in zip(graphs, sizes, strict=True)])
    edge_index = torch.cat(edges, 1)
    labels = [-1 if graph.y is None else int(graph.y) if graph.y.numel() == 1 else -2 for graph in graphs]
    if -2 in labels:
        raise ConfigError(f"data: y of graph {labels.index(-2)} has several entries, expects one class per graph")
    y = torch.tensor(labels)
    if bool((y >= 0).any()) and bool((y < 0).any()):
        raise ConfigError("data: some graphs have a label y and others none: give all of them one, or none")
    batch = torch.arange(len(graphs)).repeat_interleave(sizes)
    nodes = int(sizes.sum())
    x = one_hot_degree(degree(edge_index[1], nodes, torch.long)) if x is None else x
    return {"x": x, "edge_index": edge_index, "y": _compact(y), "batch": batch}


def content_of(values: Mapping[str, Any]) -> str:
    """A digest of tensors and of other values by name."""
    sha = hashlib.sha256()
    for name in sorted(values):
        value = values[name]
        known = isinstance(value, Tensor)
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() if known else f"{name} {value!r}".encode())
        if known:
            sha.update(value.contiguous().view(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return sha.hexdigest()[:16]


def keep(config: Any, path: Path) -> None:
    """Write data that a config of a run names by their content to a file, unless they are large or read by the batch.

    Raises:
        RunError: the file cannot be written.
    """
    given = find(getattr(config, "content", ""))
    if given is None:
        return
    meta = {"content": str(config.content)}
    if isinstance(given, GivenImages):
        parts = given.parts(config)
        splits = {name: part for name, part in parts._asdict().items() if isinstance(part, Split)}
        if any(not isinstance(part.images, Tensor) for part in splits.values()):
            return
        tensors: Tensors = {}
        for name, part in splits.items():
            found = {"images": part.images, "labels": part.labels, "aspect": part.aspect}
            tensors |= {f"{name}.{key}": value for key, value in found.items() if isinstance(value, Tensor)}
            tensors[f"{name}.row"] = torch.tensor([int(file.rpartition(" ")[2]) for file in part.files])
        meta |= {"classes": "\n".join(parts.classes), "notes": "\n".join(parts.notes), "side": str(parts.side)}
    else:
        tensors = given
    if sum(value.nbytes for value in tensors.values()) > KEPT:
        return
    try:
        whole = torch.contiguous_format  # copies, as some may share memory
        save_file({k: v.clone(memory_format=whole) for k, v in tensors.items()}, path, metadata=meta)
    except Exception as error:  # safetensors raises its own error type for a full disk
        raise RunError(f"cannot write {path}: {' '.join(str(error).split())}") from None


def _kept(config: Any) -> tuple[Tensors, dict[str, str]]:
    """The tensors that a run has kept."""
    if config.root is None or not config.root.is_file():
        raise AbsentError(
            f"data.name={config.name}: the data of this run were in the memory of a Python session, and it keeps no "
            "copy: pass them again, as in cl_as_gnn.load(RUN, data=…) or cl_as_gnn.train(resume=RUN, data=…)"
        )
    try:
        with safe_open(str(config.root), framework="pt") as file:
            meta = file.metadata() or {}
            if meta.get("content") != config.content:
                raise ValueError("other data than those of the run")
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118
    except Exception as error:  # safetensors has its own type for a broken file
        reason = " ".join(str(error).split())
        raise RunError(
            f"{config.root} cannot be read ({type(error).__name__}: {reason}): pass the data of the run again"
        ) from None


def read_graph(values: Tensors, config: GraphDataConfig) -> Data:
    """Features and edges as a run reads them: without self-loops, rows normalized where the config says so."""
    x = row_normalized(values["x"]) if config.normalize else values["x"]
    return Data(x=x, edge_index=remove_self_loops(values["edge_index"])[0])


def _graph_of(config: GivenNodesConfig | GivenGraphsConfig) -> tuple[Data, Tensors]:
    given = find(config.content)
    values = _kept(config)[0] if given is None else given
    return read_graph(values, config), values


def _parts(tensors: Tensors, meta: dict[str, str]) -> Parts:
    def split(name: str) -> Split | None:
        if f"{name}.images" not in tensors:
            return None
        files = tuple(f"image {row}" for row in tensors[f"{name}.row"].tolist())
        return Split(tensors[f"{name}.images"], tensors[f"{name}.labels"], files, tensors.get(f"{name}.aspect"))

    train, test = split("train"), split("test")
    assert train is not None
    assert test is not None
    classes, notes = (tuple(filter(None, meta[key].split("\n"))) for key in ("classes", "notes"))
    return Parts(classes, train, test, split("validation"), split("unlabeled"), int(meta["side"]), notes)


def _nodes_of(graph: Data) -> int:
    if graph.edge_index is None or graph.edge_index.dim() != 2 or graph.edge_index.size(0) != 2:
        raise ConfigError("data: expects a graph with edge_index of shape (2, E)")
    n = int(graph.num_nodes)
    if graph.edge_index.is_floating_point() or graph.edge_index.is_complex():
        raise ConfigError(f"data: edge_index has {graph.edge_index.dtype}, expects whole numbers")
    low, high = (int(end) for end in graph.edge_index.aminmax()) if graph.edge_index.numel() else (0, -1)
    if low < 0 or high >= n:
        raise ConfigError(f"data: edge_index names node {low if low < 0 else high} of {n} nodes")
    return n


def _features(graph: Data, n: int) -> Tensor:
    if graph.x is None:
        return one_hot_degree(degree(graph.edge_index[1].cpu(), n, torch.long))
    if graph.x.dim() != 2 or len(graph.x) != n:
        raise ConfigError(f"data: x has the shape {tuple(graph.x.shape)}, expects ({n}, features)")
    out: Tensor = graph.x.to_dense().cpu().float()
    return out


def _classes_of(y: Tensor, n: int, kind: str) -> Tensor:
    if y.numel() != n or y.is_floating_point():
        raise ConfigError(f"data: y has the shape {tuple(y.shape)} and {y.dtype}, expects one whole number per {kind}")
    return _compact(y.cpu().view(-1).long())


def _compact(y: Tensor) -> Tensor:
    """Classes from 0 on without gaps; −1 stays."""
    values = y[y >= 0].unique()
    place = torch.searchsorted(values, y.clamp(min=0))
    return y if not len(values) else place.masked_fill(y < 0, -1)
