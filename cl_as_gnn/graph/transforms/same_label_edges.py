from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from cl_as_gnn.graph.schema import SAME_LABEL
from cl_as_gnn.graph.transforms.rebatch import rebatch
from cl_as_gnn.graph.transforms.stores import node_store


@functional_transform("same_label_edges")
class SameLabelEdges(BaseTransform):  # type: ignore[misc]
    r"""Add positive edges between all nodes of the same label, as in `"Supervised Contrastive Learning"
    <https://arxiv.org/abs/2004.11362>`_.

    Edges run from the positive (row 0) to the anchor (row 1), for any layer and for
    :func:`cl_as_gnn.nn.functional.nt_xent`. On ``Data`` they become ``data.positive_index`` ``(2, E)``, beside
    ``edge_index`` (PyG batches it like any index); on ``HeteroData`` the edges
    ``(node_type, 'same_label', node_type)``.
    Both directions, no self-loops; a negative label means unlabelled. In a ``Batch``, nodes of all graphs are joined.

    Args:
        max_positives: draw this many positives per node at random instead of all, whose number grows with the square
            of the class size. A node may have fewer, since a pair drawn twice is one edge.
        mask: node attribute that selects the labels to use; ``None`` uses all, including test labels.
        node_type: node type whose labels are used, on ``HeteroData``.
    """

    def __init__(self, max_positives: int | None = None, mask: str | None = "train_mask", node_type: str | None = None):
        if max_positives is not None and max_positives < 1:
            raise ValueError(f"SameLabelEdges expects max_positives >= 1, got {max_positives}")
        self.max_positives, self.mask, self.node_type = max_positives, mask, node_type

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        nodes = node_store("SameLabelEdges", data, self.node_type)
        if "y" not in nodes or nodes.y is None:
            raise ValueError("SameLabelEdges expects data.y, got none: add node labels")
        if self.mask is not None and self.mask not in nodes:
            raise ValueError(
                f"SameLabelEdges expects the node mask {self.mask!r}, got data without it: name another, or mask=None"
            )
        y = nodes.y.squeeze(-1) if nodes.y.dim() == 2 else nodes.y
        count = nodes.x.size(0) if "x" in nodes and nodes.x is not None else len(y)
        if y.shape != (count,) or y.is_floating_point():
            raise ValueError(
                f"SameLabelEdges expects one integer label for each of {count} nodes in y, got shape "
                f"{tuple(nodes.y.shape)} of {str(nodes.y.dtype).removeprefix('torch.')}"
            )
        labelled = y >= 0
        if self.mask is not None:
            labelled = labelled & nodes[self.mask]
        node = labelled.nonzero().view(-1)
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
        # A draw among the other nodes of the class: positions from the node's own on move up by one.
        drawn = (torch.rand(target.numel(), device=label.device) * (size[target] - 1)).long()
        drawn = torch.minimum(drawn, size[target] - 2)
        source = start[target] + drawn
        source = source + (source >= target).long()
    keep = source != target
    pair: Tensor = torch.unique(torch.stack([order[source[keep]], order[target[keep]]]), dim=1)
    return pair
