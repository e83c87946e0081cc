"""Planetoid's citation graphs as the benchmarks read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from cl_as_gnn.datasets.graph_files import read_planetoid
from cl_as_gnn.nn.operators import Adjacency


def load(root: Path, name: str) -> Data:
    """Cora, CiteSeer or PubMed with the public split, and ``rest_mask``: all nodes outside training and validation."""
    folder = root / name / "raw"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there: --root expects PyG's Planetoid folder, with {name}/raw in it")
    data = read_planetoid(root, name)
    data.rest_mask = ~(data.train_mask | data.val_mask)
    return data


class FixedProduct:
    """A constant sparse matrix and its transpose as CSR, for products whose backward is a product again."""

    def __init__(self, graph: Adjacency):
        if graph.edge_weight is None:
            raise ValueError("FixedProduct expects a graph with edge weights")
        self.value = graph.edge_weight
        self.size = graph.size
        (*self._rows, self._order), (*self._columns, self._back) = (
            tuple(part.int() if k < 2 else part for k, part in enumerate(parts)) for parts in (graph.csr, graph.csc)
        )

    def __call__(self, x: Tensor, value: Tensor | None = None) -> Tensor:
        """A·x, with other values ``(E,)`` for the entries of A if given."""
        value = self.value if value is None else value
        sources, targets = self.size
        row_ptr, row_index, column_ptr, column_index = *self._rows, *self._columns
        forward = torch.sparse_csr_tensor(
            row_ptr, row_index, value[self._order], size=(targets, sources), check_invariants=False
        )
        back = torch.sparse_csr_tensor(
            column_ptr, column_index, value[self._back], size=(sources, targets), check_invariants=False
        )
        out: Tensor = _Product.apply(x, forward, back)
        return out


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ grad, None, None


def dropout(x: Tensor, p: float) -> Tensor:
    """Dropout with p rounded to 1/256: eight masks from one draw, a fifth of the time of torch's on one core."""
    keep = round(256 * (1 - p))
    drawn = (
        torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None).view(torch.uint8)
    )
    return x * (drawn[: x.numel()].view_as(x) < keep).to(x.dtype).mul_(256 / keep)


def mean_adjacency(data: Data) -> FixedProduct:
    r"""The row-normalized :math:`D^{-1}(A + I)` of a graph."""
    n = data.num_nodes
    loop = torch.arange(n, device=data.edge_index.device).repeat(2, 1)
    edge_index = torch.cat([data.edge_index, loop], dim=1)
    weight = 1 / torch.bincount(edge_index[1], minlength=n).float()
    return FixedProduct(Adjacency(edge_index, weight[edge_index[1]], n))


def features(x: Tensor) -> FixedProduct:
    """The sparse features, each row of unit sum: a bipartite graph from channels to nodes."""
    x = x / x.sum(1, keepdim=True).clamp(min=1)
    node, channel = x.nonzero().t()
    return FixedProduct(Adjacency(torch.stack([channel, node]), x[node, channel], (x.size(1), x.size(0))))
