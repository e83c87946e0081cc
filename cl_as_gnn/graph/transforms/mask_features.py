from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import mask_feature

from cl_as_gnn.graph.transforms.stores import probability
from cl_as_gnn.nn.checks import check_choice


@functional_transform("mask_features")
class MaskFeatures(BaseTransform):  # type: ignore[misc]
    r"""Set features to zero with probability p: PyG's ``mask_feature`` as a transform, the corruption of `GRACE
    <https://arxiv.org/abs/2006.04131>`_.

    Works on ``Data.x`` and on ``.x`` of every node type of ``HeteroData`` that has it; with ``"col"`` also on a
    sparse CSR matrix. The input keeps its features.

    Args:
        p: probability of masking (some released codes use the probability of keeping).
        mode: ``"col"`` masks a channel for every node (GRACE), ``"row"`` a node in every channel, ``"all"`` entries.
    """

    def __init__(self, p: float = 0.5, mode: str = "col"):
        self.p = probability("MaskFeatures", p)
        check_choice("MaskFeatures", ("col", "row", "all"), mode=mode)
        self.mode = mode

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        stores = [store for store in data.node_stores if "x" in store]
        if not stores and self.p > 0:
            raise ValueError("MaskFeatures expects data.x, got none: add node features")
        for store in stores:
            store.x = self._masked(store.x)
        return data

    def _masked(self, x: Tensor) -> Tensor:
        if x.layout == torch.strided:
            masked: Tensor = mask_feature(x, self.p, self.mode)[0]
            return masked
        if x.layout != torch.sparse_csr or self.mode != "col":
            raise ValueError(
                f"MaskFeatures expects sparse features as CSR and mode='col', got {x.layout} and {self.mode!r}"
            )
        keep = torch.rand(x.size(1), device=x.device) >= self.p
        values = x.values() * keep[x.col_indices()]
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.size())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode!r})"
