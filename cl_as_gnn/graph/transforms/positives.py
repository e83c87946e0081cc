"""Positive edges between the nodes of one graph: nearest in feature space, or of the same label."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.knn import knn_edges
from cl_as_gnn.graph.schema import AFFINITY, NEAREST, SAME_LABEL
from cl_as_gnn.graph.transforms.stores import edge_keys, node_store, rebatch
from cl_as_gnn.nn.checks import Got, check_count, check_features, check_flag, check_integers, expects


@functional_transform("feature_knn")
class FeatureKNN(BaseTransform):  # type: ignore[misc]
    r"""Add the k-nearest-neighbor graph of the node features by cosine similarity, exact; PyG's ``KNNGraph`` is for
    positions and requires a compiled extension.

    Edges run from the k nearest others (row 0) to each node (row 1), within one graph of a PyG batch. On ``Data`` they
    join the edges of ``edge_index``, without repeats, or with ``replace`` replace them; on ``HeteroData`` they are the
    edges ``(node_type, relation, node_type)``. ``edge_weight`` holds the cosine similarities of the new edges, except
    when they join edges without weights.

    Args:
        k: neighbors per node; in a graph of k or fewer nodes all others, with a warning.
        replace: drop the old edges of a ``Data`` and their attributes.
        node_type: node type whose features are compared, on ``HeteroData``.
        relation: name of the relation, on ``HeteroData``.
    """

    def __init__(
        self, k: int = 10, replace: bool = False, node_type: str | None = None, relation: str = AFFINITY[1]
    ) -> None:
        check_count("FeatureKNN", k=k)
        check_flag("FeatureKNN", replace=replace)
        self.k, self.replace, self.node_type, self.relation = k, replace, node_type, relation

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        edge_index, similarity = self.edges(node_store("FeatureKNN", data, self.node_type, x="features"), "FeatureKNN")
        if isinstance(data, HeteroData):
            store = data[self.node_type, self.relation, self.node_type]
            store.edge_index, store.edge_weight = edge_index, similarity
        elif self.replace or data.edge_index is None:
            for key in edge_keys(data):
                del data[key]
            data.edge_index, data.edge_weight = edge_index, similarity
        else:
            self._join(data, edge_index, similarity)
        return rebatch(data)

    def edges(self, nodes: Any, transform: str) -> tuple[Tensor, Tensor]:
        """Edges from the k nearest others to each node of a storage with ``.x``, and their cosine similarities."""
        x, batch = nodes.x, nodes.batch if "batch" in nodes else None
        check_features(transform, x, "data.x", real=True, cure="pass x.to_dense(), or x.view(-1, 1)")
        graphs: Any = [torch.arange(x.size(0), device=x.device)]
        if batch is not None:
            graphs = torch.argsort(batch, stable=True).split(torch.bincount(batch).tolist())
        if least := min((node.numel() for node in graphs if node.numel() <= self.k), default=0):
            warnings.warn(
                f"{transform}: k={self.k} does not fit a graph of {least} nodes, which get all {least - 1} others",
                stacklevel=2,
            )
        edges, similarity = [torch.empty(2, 0, dtype=torch.long, device=x.device)], [x.new_empty(0)]
        for node in graphs:
            if node.numel() > 1:
                found, weight = knn_edges(x[node], min(self.k, node.numel() - 1))
                edges.append(node[found])
                similarity.append(weight.to(x.dtype))
        return torch.cat(edges, dim=1), torch.cat(similarity)

    @staticmethod
    def _join(data: Data, edge_index: Tensor, similarity: Tensor) -> None:
        other = [key for key in edge_keys(data) if key != "edge_weight"]
        if other:
            what = "with no edge attributes beside edge_weight"
            raise expects("FeatureKNN", "data", what, Got(", ".join(other)), "use replace=True")
        n = data.num_nodes
        old = data.edge_index.long()
        new = ~torch.isin(edge_index[0] * n + edge_index[1], old[0] * n + old[1])
        if "edge_weight" in data and data.edge_weight is not None:
            data.edge_weight = torch.cat([data.edge_weight, similarity[new].to(data.edge_weight.dtype)])
        data.edge_index = torch.cat([data.edge_index, edge_index[:, new].to(data.edge_index.dtype)], dim=1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, replace={self.replace})"


@functional_transform("nearest_positives")
class NearestPositives(BaseTransform):  # type: ignore[misc]
    r"""Make each node's nearest neighbors in feature space its positives, as in `"With a Little Help from My Friends"
    <https://arxiv.org/abs/2104.14548>`_ (NNCLR) within one graph.

    Edges run from the positive (row 0) to the anchor (row 1), within one graph of a PyG batch, grouped by anchor,
    nearest first, for any layer and for :func:`cl_as_gnn.nn.functional.nt_xent`. On ``Data`` they become
    ``data.positive_index`` ``(2, n·k)``, beside ``edge_index``; on ``HeteroData`` the edges
    ``(node_type, 'nearest', node_type)``.

    Args:
        k: positives per node; in a graph of k or fewer nodes all others, with a warning.
        mutual: keep a pair only where each is among the other's k nearest.
        node_type: node type whose features are compared, on ``HeteroData``.
    """

    def __init__(self, k: int = 1, mutual: bool = False, node_type: str | None = None):
        check_count("NearestPositives", k=k)
        check_flag("NearestPositives", mutual=mutual)
        self.k, self.mutual, self.node_type = k, mutual, node_type

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        nodes = node_store("NearestPositives", data, self.node_type, x="features")
        edge_index, _ = FeatureKNN(self.k).edges(nodes, "NearestPositives")
        if self.mutual:
            source, target = edge_index
            n = nodes.x.size(0)
            edge_index = edge_index[:, torch.isin(source * n + target, target * n + source)]
        if isinstance(data, HeteroData):
            data[self.node_type, NEAREST, self.node_type].edge_index = edge_index
        else:
            data.positive_index = edge_index
        return rebatch(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, mutual={self.mutual})"


@functional_transform("same_label_edges")
class SameLabelEdges(BaseTransform):  # type: ignore[misc]
    r"""Add positive edges between all nodes of the same label, as in `"Supervised Contrastive Learning"
    <https://arxiv.org/abs/2004.11362>`_.

    Edges run from the positive (row 0) to the anchor (row 1), for any layer and for
    :func:`cl_as_gnn.nn.functional.nt_xent`, in both directions, without self-loops. On ``Data`` they become
    ``data.positive_index`` ``(2, E)``, beside ``edge_index`` (PyG batches it like any index); on ``HeteroData`` the
    edges ``(node_type, 'same_label', node_type)``. A negative label means unlabeled. In a ``Batch``, nodes of all
    graphs are joined.

    Args:
        max_positives: draw this many positives per node instead of all; fewer where a pair is drawn twice.
        mask: node attribute that selects the labels to use; ``None`` uses all, including test labels.
        node_type: node type whose labels are used, on ``HeteroData``.
    """

    def __init__(self, max_positives: int | None = None, mask: str | None = "train_mask", node_type: str | None = None):
        check_count("SameLabelEdges", optional=True, max_positives=max_positives)
        self.max_positives, self.mask, self.node_type = max_positives, mask, node_type

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        nodes = node_store("SameLabelEdges", data, self.node_type, y="labels")
        if self.mask is not None and self.mask not in nodes:
            cure = "name another by mask=, or use all labels by mask=None"
            raise expects("SameLabelEdges", f"data.{self.mask}", "to hold the node mask", Got("none"), cure)
        y = nodes.y.squeeze(-1) if nodes.y.dim() == 2 else nodes.y
        count = nodes.x.size(0) if "x" in nodes and nodes.x is not None else len(y)
        check_integers("SameLabelEdges", y, count, "data.y", "one label of each node")
        labeled = y >= 0 if self.mask is None else (y >= 0) & nodes[self.mask]
        node = labeled.nonzero().view(-1)
        edge_index = node[_pairs(y[node], self.max_positives)]
        if isinstance(data, HeteroData):
            data[self.node_type, SAME_LABEL, self.node_type].edge_index = edge_index
        else:
            data.positive_index = edge_index
        return rebatch(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_positives={self.max_positives}, mask={self.mask!r})"


def _pairs(label: Tensor, limit: int | None) -> Tensor:
    """Ordered pairs ``(2, E)`` of different positions of the same label, all or ``limit`` drawn for each target."""
    order = torch.argsort(label, stable=True)
    _, inverse, count = torch.unique(label[order], return_inverse=True, return_counts=True)
    size = count[inverse]
    start = (count.cumsum(0) - count)[inverse]
    rank = torch.arange(label.numel(), device=label.device)
    if limit is None:
        target = rank.repeat_interleave(size)
        offset = torch.arange(target.numel(), device=label.device)
        source = start[target] + offset - (size.cumsum(0) - size)[target]
    else:
        target = rank[size > 1].repeat_interleave(limit)
        # A draw among the other nodes of the class skips the node itself.
        drawn = (torch.rand(target.numel(), device=label.device) * (size[target] - 1)).long()
        drawn = torch.minimum(drawn, size[target] - 2)
        source = start[target] + drawn
        source = source + (source >= target).long()
    keep = source != target
    pair: Tensor = torch.unique(torch.stack([order[source[keep]], order[target[keep]]]), dim=1)
    return pair
