"""Random corruption: dropped edges, dropped nodes, masked features, and two views made of them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import dropout_edge, mask_feature

from cl_as_gnn.graph.transforms.stores import check_data, edge_keys, index_keys, rebatch
from cl_as_gnn.nn.checks import Got, check_choice, check_flag, check_probability, expects


class _Corruption(BaseTransform):  # type: ignore[misc]
    def __init__(self, p: float):
        check_probability(type(self).__name__, p=p)
        self.p = p

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


@functional_transform("drop_edges")
class DropEdges(_Corruption):
    r"""Drop each edge with probability p, with its attributes: PyG's ``dropout_edge`` as a transform, the corruption of
    `"DropEdge: Towards Deep Graph Convolutional Networks on Node Classification" <https://arxiv.org/abs/1907.10903>`_
    and of `GRACE <https://arxiv.org/abs/2006.04131>`_.

    Works on ``Data`` and, in every edge type, on ``HeteroData``; a ``Batch`` stays one. The input keeps its edges.

    Args:
        p: probability of dropping an edge.
        force_undirected: drop or keep both directions of an edge together (``Data`` of an undirected graph).
    """

    def __init__(self, p: float = 0.5, force_undirected: bool = False):
        super().__init__(p)
        check_flag("DropEdges", force_undirected=force_undirected)
        self.force_undirected = force_undirected

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        check_data("DropEdges", data)
        if self.force_undirected and isinstance(data, HeteroData):
            cure = "its edges have a direction"
            raise expects("DropEdges", "data", "as a Data where force_undirected=True", data, cure)
        for store in data.edge_stores:
            if "edge_index" not in store:
                raise expects("DropEdges", "data.edge_index", "to hold the edges", Got(f"only {list(store.keys())}"))
            keys = edge_keys(store)
            edge_index, kept = dropout_edge(store.edge_index, self.p, self.force_undirected)
            if self.force_undirected and self.p > 0:
                # Each pair is returned in both directions, a self-loop twice.
                again = torch.arange(edge_index.size(1), device=edge_index.device) >= edge_index.size(1) // 2
                once = ~(again & (edge_index[0] == edge_index[1]))
                edge_index, kept = edge_index[:, once], kept[once]
            for key in keys:
                store[key] = store[key][kept]
            store.edge_index = edge_index
        return rebatch(data)


@functional_transform("drop_nodes")
class DropNodes(_Corruption):
    r"""Drop each node with probability p, with its edges: the node dropping of `"Graph Contrastive Learning with
    Augmentations" <https://arxiv.org/abs/2010.13902>`_ (GraphCL). PyG's ``dropout_node`` keeps the node and drops only
    its edges.

    Works on ``Data`` and, in every node type, on ``HeteroData``; a ``Batch`` stays one. Attributes with one entry per
    node or edge are cut, and so are pairs of nodes (``positive_index``). The remaining nodes are renumbered in their
    order. A graph may lose all its nodes.

    Args:
        p: probability of dropping a node.
    """

    def __init__(self, p: float = 0.2):
        super().__init__(p)

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        check_data("DropNodes", data)
        like = next((x for store in data.stores for x in store.values() if isinstance(x, Tensor)), torch.empty(0))
        stay = {}
        for store in data.node_stores:
            if store.num_nodes is None:
                cure = "add node features, or set num_nodes"
                raise expects("DropNodes", "data.num_nodes", "as a number of nodes", Got("none"), cure)
            stay[store._key] = torch.rand(store.num_nodes, device=like.device) >= self.p
        held = []
        for store in data.edge_stores:
            if "adj_t" in store:
                cure = "put ToSparseTensor after it"
                raise expects("DropNodes", "data.edge_index", "to hold the edges", Got("adj_t"), cure)
            # PyG's `subgraph` does not renumber other pairs of nodes, such as positives.
            held += [(store, key, *_cut(store, key, stay)) for key in index_keys(store) if key != "edge_index"]
        hetero = isinstance(data, HeteroData)
        cut: Data | HeteroData = data.subgraph(stay if hetero else stay[None])
        for store, key, columns, pairs in held:
            out = cut[store._key] if hetero else cut
            out[key] = pairs
            label = key.removesuffix("_index")
            if label in store and store[label].size(0) == columns.numel():
                out[label] = store[label][columns]
        return rebatch(cut)


def _cut(store: Any, key: str, stay: dict[Any, Tensor]) -> tuple[Tensor, Tensor]:
    """Columns of an index whose nodes all remain, and these nodes renumbered."""
    ends = (store._key[0], store._key[-1]) if isinstance(store._key, tuple) else (store._key,) * 2
    rows = store[key].unsqueeze(0) if store[key].dim() == 1 else store[key]
    masks = [stay[ends[row == 1]] for row in range(len(rows))]
    columns = torch.stack([mask[row] for mask, row in zip(masks, rows, strict=True)]).all(0)
    numbers = [(mask.cumsum(0) - 1)[row[columns]] for mask, row in zip(masks, rows, strict=True)]
    return columns, torch.stack(numbers).view(*store[key].shape[:-1], -1).to(store[key].dtype)


@functional_transform("mask_features")
class MaskFeatures(_Corruption):
    r"""Set features to zero with probability p: PyG's ``mask_feature`` as a transform, the corruption of `GRACE
    <https://arxiv.org/abs/2006.04131>`_.

    Works on ``Data.x`` and on ``.x`` of every node type of ``HeteroData`` that has it; with ``"col"`` also on a sparse
    CSR matrix. The input keeps its features.

    Args:
        p: probability of masking (some released codes use the probability of keeping).
        mode: ``"col"`` masks a channel for every node (GRACE), ``"row"`` a node in every channel, ``"all"`` entries.
    """

    def __init__(self, p: float = 0.5, mode: str = "col"):
        super().__init__(p)
        check_choice("MaskFeatures", ("col", "row", "all"), mode=mode)
        self.mode = mode

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        check_data("MaskFeatures", data)
        stores = [store for store in data.node_stores if "x" in store]
        if not stores and self.p > 0:
            raise expects("MaskFeatures", "data.x", "to hold features", Got("none"), "add node features")
        for store in stores:
            store.x = self._masked(store.x)
        return data

    def _masked(self, x: Tensor) -> Tensor:
        if x.layout == torch.strided:
            masked: Tensor = mask_feature(x, self.p, self.mode)[0]
            return masked
        if x.layout != torch.sparse_csr or self.mode != "col":
            raise expects("MaskFeatures", "data.x", "dense, or as CSR where mode='col'", x)
        keep = torch.rand(x.size(1), device=x.device) >= self.p
        values = x.values() * keep[x.col_indices()]
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.size())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode!r})"


@functional_transform("two_views")
class TwoViews(BaseTransform):  # type: ignore[misc]
    r"""Two random views of a graph, corrupted independently by :class:`DropEdges` and :class:`MaskFeatures`, as in
    `"Deep Graph Contrastive Representation Learning" <https://arxiv.org/abs/2006.04131>`_ (GRACE).

    Args:
        drop_edge: probability of dropping an edge; a pair holds one value per view.
        mask_feature: probability of masking a feature channel; a pair holds one value per view.
        batch: return one PyG ``Batch`` of the two views instead of a pair; only the batch can be followed by another
            transform in a ``Compose``. Node i of an n-node ``Data`` is then node i of view one and n + i of view two
            (view-major), so its positives are ``cl_as_gnn.graph.augmentation_edges(n, 2, device)``; of a ``Batch`` of
            graphs, all in view one come first.
    """

    def __init__(
        self,
        drop_edge: float | tuple[float, float] = 0.3,
        mask_feature: float | tuple[float, float] = 0.3,
        batch: bool = False,
    ):
        self.drop_edge, self.mask_feature = (
            tuple(p) if isinstance(p, (tuple, list)) else (p, p) for p in (drop_edge, mask_feature)
        )
        check_flag("TwoViews", batch=batch)
        self.batch = batch
        for key, pair in (("drop_edge", self.drop_edge), ("mask_feature", self.mask_feature)):
            if len(pair) != 2:
                raise expects("TwoViews", key, "as one probability, or two", Got(pair))
            for p in pair:
                value: dict[str, Any] = {key: p}
                check_probability("TwoViews", **value)
        pairs = zip(self.drop_edge, self.mask_feature, strict=True)
        self.transforms = [Compose([DropEdges(edge), MaskFeatures(feature)]) for edge, feature in pairs]

    def forward(self, data: Any) -> tuple[Any, Any] | Batch:
        check_data("TwoViews", data)
        first, second = (transform(copy.copy(data)) for transform in self.transforms)
        if not self.batch:
            return first, second
        graphs = [view.to_data_list() if isinstance(view, Batch) else [view] for view in (first, second)]
        keys = set(first.keys())
        followed = sorted(key for key in keys if f"{key}_batch" in keys)
        return rebatch(Batch.from_data_list([*graphs[0], *graphs[1]], follow_batch=followed))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(drop_edge={self.drop_edge}, mask_feature={self.mask_feature})"
