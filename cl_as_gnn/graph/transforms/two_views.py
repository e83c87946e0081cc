from __future__ import annotations

import copy
from typing import TypeAlias

from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform, Compose

from cl_as_gnn.graph.transforms.drop_edges import DropEdges
from cl_as_gnn.graph.transforms.mask_features import MaskFeatures
from cl_as_gnn.graph.transforms.rebatch import rebatch

Graph: TypeAlias = Data | HeteroData


@functional_transform("two_views")
class TwoViews(BaseTransform):  # type: ignore[misc]
    r"""Two random views of a graph, corrupted independently by :class:`DropEdges` and :class:`MaskFeatures`, as in
    `"Deep Graph Contrastive Representation Learning" <https://arxiv.org/abs/2006.04131>`_ (GRACE).

    Args:
        drop_edge: probability of dropping an edge; a pair holds one value per view.
        mask_feature: probability of masking a feature channel; a pair holds one value per view.
        batch: return one PyG ``Batch`` of the two views instead of a pair. Node i of an n-node ``Data`` is then node
            i of view one and n + i of view two (view-major), so its positives are
            ``cl_as_gnn.graph.augmentation_edges(n, 2, device)``; of a ``Batch`` of graphs, all in view one come first.
            Only the batch can be followed by another transform in a ``Compose``.
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
        self.batch = batch
        if len(self.drop_edge) != 2 or len(self.mask_feature) != 2:
            raise ValueError(f"TwoViews expects one probability or two of each, got {drop_edge} and {mask_feature}")
        pairs = zip(self.drop_edge, self.mask_feature, strict=True)
        self.transforms = [Compose([DropEdges(edge), MaskFeatures(feature)]) for edge, feature in pairs]

    def forward(self, data: Graph) -> tuple[Graph, Graph] | Batch:
        first, second = (transform(copy.copy(data)) for transform in self.transforms)
        if not self.batch:
            return first, second
        graphs = [view.to_data_list() if isinstance(view, Batch) else [view] for view in (first, second)]
        keys = set(first.keys())
        followed = sorted(key for key in keys if f"{key}_batch" in keys)
        return rebatch(Batch.from_data_list([*graphs[0], *graphs[1]], follow_batch=followed))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(drop_edge={self.drop_edge}, mask_feature={self.mask_feature})"
