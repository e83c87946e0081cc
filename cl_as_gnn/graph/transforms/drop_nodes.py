from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.transforms.rebatch import rebatch
from cl_as_gnn.graph.transforms.stores import index_keys, probability


@functional_transform("drop_nodes")
class DropNodes(BaseTransform):  # type: ignore[misc]
    r"""Drop each node with probability p, with its edges: the node dropping of `"Graph Contrastive Learning with
    Augmentations" <https://arxiv.org/abs/2010.13902>`_ (GraphCL). PyG's ``dropout_node`` keeps the node and drops
    only its edges.

    Works on ``Data`` and, in every node type, on ``HeteroData``; a ``Batch`` stays one. Attributes with one entry
    per node or edge are cut, and so are pairs of nodes (``positive_index``). The remaining nodes are renumbered in
    their order. A graph may lose all its nodes.

    Args:
        p: probability of dropping a node.
    """

    def __init__(self, p: float = 0.2):
        self.p = probability("DropNodes", p)

    def _stay(self, store: Any, device: torch.device) -> Tensor:
        if store.num_nodes is None:
            raise ValueError("DropNodes expects a number of nodes, got none: add node features, or set num_nodes")
        return torch.rand(store.num_nodes, device=device) >= self.p

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        hetero = isinstance(data, HeteroData)
        like = next((x for store in data.stores for x in store.values() if isinstance(x, Tensor)), torch.empty(0))
        stay = {store._key: self._stay(store, like.device) for store in data.node_stores}
        held = [(store, key, *_cut(store, key, stay)) for store in data.edge_stores for key in _own_indices(store)]
        cut: Data | HeteroData = data.subgraph(stay if hetero else stay[None])
        for store, key, columns, pairs in held:
            out = cut[store._key] if hetero else cut
            out[key] = pairs
            label = key.removesuffix("_index")
            if label in store and store[label].size(0) == columns.numel():
                out[label] = store[label][columns]
        return rebatch(cut)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


def _own_indices(store: Any) -> list[str]:
    """Pairs of nodes beside the edges, such as positives: PyG's ``subgraph`` does not renumber them."""
    if "adj_t" in store:
        raise ValueError("DropNodes expects edges as edge_index, got adj_t: put ToSparseTensor after it")
    return [key for key in index_keys(store) if key != "edge_index"]


def _cut(store: Any, key: str, stay: dict[Any, Tensor]) -> tuple[Tensor, Tensor]:
    """Columns of an index whose nodes all remain, and these nodes renumbered."""
    ends = (store._key[0], store._key[-1]) if isinstance(store._key, tuple) else (store._key,) * 2
    rows = store[key].unsqueeze(0) if store[key].dim() == 1 else store[key]
    masks = [stay[ends[row == 1]] for row in range(len(rows))]
    columns = torch.stack([mask[row] for mask, row in zip(masks, rows, strict=True)]).all(0)
    numbers = [(mask.cumsum(0) - 1)[row[columns]] for mask, row in zip(masks, rows, strict=True)]
    return columns, torch.stack(numbers).view(*store[key].shape[:-1], -1).to(store[key].dtype)
