"""Access to the parts of a ``Data`` or ``HeteroData`` on which transforms act."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.nn.checks import Got, expects


def check_data(transform: str, data: Any) -> None:
    """ValueError unless ``data`` is a ``Data`` or ``HeteroData``."""
    if not isinstance(data, Data | HeteroData):
        raise expects(transform, "data", "as a Data or HeteroData", data)


def check_views(transform: str, data: Any) -> None:
    """ValueError unless ``data`` is the graph of a minibatch of views."""
    kinds = AUGMENTATION in data.edge_types if isinstance(data, HeteroData) else False
    if not kinds or "num_views" not in data or "x" not in data["view"]:
        raise expects(transform, "data", "as the graph of a minibatch", data, "make it with view_graph")


def node_store(transform: str, data: Data | HeteroData, node_type: str | None, **needed: str) -> Any:
    """Storage of the nodes of one type (a ``Data`` has one), which must have the attributes ``needed``."""
    check_data(transform, data)
    nodes = data
    if isinstance(data, HeteroData):
        if node_type not in data.node_types:
            raise expects(transform, "node_type", f"as one of {data.node_types}", node_type)
        nodes = data[node_type]
    elif node_type is not None:
        raise expects(transform, "node_type", "as None for a Data", node_type)
    for key, what in needed.items():
        if key not in nodes or nodes[key] is None:
            raise expects(transform, f"data.{key}", f"to hold the {what} of the nodes", Got("none"), f"add node {what}")
    return nodes


def edge_keys(data: Any) -> list[str]:
    """Attributes with one entry per edge, except ``edge_index``; another ``..._index`` is a separate graph."""
    other = ("edge_index", "batch", "ptr")
    return [key for key in data.edge_attrs() if key not in other and not is_index(key) and f"{key}_index" not in data]


def index_keys(store: Any) -> list[str]:
    """Attributes that hold node indices, ``edge_index`` included."""
    return [key for key, value in store.items() if isinstance(value, Tensor) and is_index(key)]


def is_index(key: str) -> bool:
    """Whether an attribute of this name holds node indices, by the rule that PyG uses for batches."""
    return "index" in key or key == "face"


def rebatch(data: Data | HeteroData) -> Data | HeteroData:
    """Update the graph boundaries of a ``Batch`` whose nodes or edges have changed; other data is returned unchanged.

    A transform of a whole batch makes ``ptr`` and the slices that ``to_data_list`` reads stale. Edges are sorted by
    graph. Pairs of nodes of different graphs belong to no graph.
    """
    if not isinstance(data, Batch):
        return data
    count, graphs = data.num_graphs, {store._key: store.batch for store in data.node_stores if "batch" in store}
    before = getattr(data, "_slice_dict", {}), getattr(data, "_inc_dict", {})
    # PyG keeps these by node or edge type, with those of the whole batch at the top.
    slices: dict[Any, Any] = {}
    steps: dict[Any, Any] = {}
    for store in data.stores:
        key = store._key
        cuts, shifts = (part if key is None else part.setdefault(key, {}) for part in (slices, steps))
        old_cuts, old_shifts = (part if key is None else part.get(key, {}) for part in before)
        ends = [key[0], key[-1]] if isinstance(key, tuple) else [key, key]
        if key in graphs:
            store.ptr = _ptr(graphs[key], count)
            if hasattr(store, "_num_nodes"):
                store._num_nodes = store.ptr.diff().tolist()
        owners = _owners(store, [graphs.get(end) for end in ends], graphs.get(key))
        for name in store:
            if name in owners:
                owner = owners[name] = _in_order(data, store, name, owners[name])
                first = [_ptr(graphs[end], count)[:-1] for end in ends] if is_index(name) else None
                step = None if first is None else first[0] if key is None else torch.stack(first, 1).unsqueeze(2)
                cuts[name], shifts[name] = _ptr(owner, count), step
                if f"{name}_batch" in store:
                    store[f"{name}_batch"], store[f"{name}_ptr"] = owner, cuts[name]
            elif name in old_cuts and not is_index(name):
                cuts[name], shifts[name] = old_cuts[name], old_shifts[name]
            elif isinstance(store[name], Tensor) and store[name].dim() and store[name].size(0) == count:
                cuts[name], shifts[name] = torch.arange(count + 1), None
    data._slice_dict, data._inc_dict = slices, steps
    return data


def _owners(store: Any, ends: list[Tensor | None], nodes: Tensor | None) -> dict[str, Tensor]:
    """The graph of each entry of the attributes that have one entry per node, edge or pair of nodes."""
    sources, targets = ends
    owners = {}
    if sources is not None and targets is not None:
        found = {name: _owner(store[name], sources, targets) for name in index_keys(store)}
        owners = {name: owner for name, owner in found.items() if owner is not None}
    for name, value in store.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or is_index(name):
            continue
        if name in ("batch", "ptr", "num_nodes") or name.endswith(("_batch", "_ptr")):
            continue
        if f"{name}_index" in owners and value.size(0) == owners[f"{name}_index"].numel():
            owners[name] = owners[f"{name}_index"]
        elif "edge_index" in owners and store.is_edge_attr(name):
            owners[name] = owners["edge_index"]
        elif nodes is not None and store.is_node_attr(name):
            owners[name] = nodes
    return owners


def _owner(index: Tensor, sources: Tensor, targets: Tensor) -> Tensor | None:
    """The graph of each entry of an index of nodes; none where a column names nodes of different graphs."""
    if index.dim() == 1:
        return sources[index]
    owner = sources[index[0]]
    alike = all(torch.equal(owner, (targets if row == 1 else sources)[index[row]]) for row in range(1, len(index)))
    return owner if alike else None


def _in_order(data: Batch, store: Any, name: str, owner: Tensor) -> Tensor:
    """Sort the entries of an attribute by graph; return the graph of each."""
    if bool((owner[1:] >= owner[:-1]).all()):
        return owner
    owner, order = torch.sort(owner, stable=True)
    store[name] = store[name].index_select(data.__cat_dim__(name, store[name], store), order)
    return owner


def _ptr(graph: Tensor, count: int) -> Tensor:
    size = graph.new_zeros(count + 1).scatter_add_(0, graph + 1, torch.ones_like(graph))
    return size.cumsum(0)
