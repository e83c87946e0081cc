"""A graph as a sparse matrix, forward and backward without a message per edge."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric import EdgeIndex
from torch_geometric.utils import index_sort, scatter
from torch_geometric.utils.sparse import index2ptr

from cl_as_gnn.compat import quiet_sparse
from cl_as_gnn.nn.checks import check_range, expects
from cl_as_gnn.nn.forward_mode import forward_mode

quiet_sparse()


def _multiply(ptr: Tensor, index: Tensor, value: Tensor | None, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and x.numel():
        # A weighted sum over the rows that a bag names is the same product, and several times faster than MKL's.
        return F.embedding_bag(index, x, ptr, mode="sum", per_sample_weights=value, include_last_offset=True)
    size = (ptr.numel() - 1, x.size(0))
    value = x.new_ones(index.numel()) if value is None else value
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = torch.sparse_csr_tensor(ptr, index, value, size=size, check_invariants=False) @ x
    return out


@torch.library.custom_op("cl_as_gnn::csr_matmul", mutates_args=())
def _csr_matmul(ptr: Tensor, index: Tensor, value: Tensor | None, x: Tensor) -> Tensor:
    return _multiply(ptr, index, value, x)


@_csr_matmul.register_fake
def _(ptr: Tensor, index: Tensor, value: Tensor | None, x: Tensor) -> Tensor:
    return x.new_empty(ptr.numel() - 1, x.size(1))


def _product(ptr: Tensor, index: Tensor, value: Tensor | None, x: Tensor) -> Tensor:
    """One custom operator under a compiler; a direct call otherwise, which costs less."""
    out: Tensor = (_csr_matmul if torch.compiler.is_compiling() else _multiply)(ptr, index, value, x.contiguous())
    return out


Order = tuple[Tensor, Tensor, Tensor]
# Up to this many nodes (256 MB) a GPU multiplies graphs densely: the host has to wait for the size of a sparse product.
DENSE_NODES = 8192
# What is known of edges, by their tensor, for as long as it lives: training uses the same few graphs in every step.
_ORDERS = WeakTensorKeyDictionary()


def _sorted(edge_index: Tensor, by: int, sources: int, targets: int) -> Order:
    sizes = (sources, targets)
    check_range("Adjacency", edge_index, sizes)
    key, order = index_sort(edge_index[by], sizes[by], stable=True)
    return index2ptr(key, sizes[by]), edge_index[1 - by][order], order


# A compiled graph checks the edges where it runs: an index out of range would end the process.
_compiled_sorted = torch.library.custom_op("cl_as_gnn::sort_edges", _sorted, mutates_args=())


@_compiled_sorted.register_fake
def _(edge_index: Tensor, by: int, sources: int, targets: int) -> Order:
    edges = edge_index.size(1)
    index = edge_index.new_empty(edges, dtype=torch.long)
    return index.new_empty((sources, targets)[by] + 1), edge_index.new_empty(edges), index


def _order(edge_index: Tensor, by: int, sizes: tuple[int, int]) -> Order:
    """Edges sorted by their row ``by``: row pointer, the other ends, and the edge of each entry."""
    if torch.compiler.is_compiling():
        done: Order = _compiled_sorted(edge_index, by, *sizes)
        return done
    return remembered(edge_index, (by, sizes), lambda: _sorted(edge_index, by, *sizes))


def remembered(edge_index: Tensor, key: Hashable, compute: Callable[[], Order]) -> Order:
    """What is computed of edges, once, while they live and do not change."""
    # Tensors made in inference mode cannot be used in training later.
    if torch.is_inference_mode_enabled() or edge_index.is_inference():
        return compute()
    known: tuple[int, dict[Hashable, Order]] | None = _ORDERS.get(edge_index)
    if known is None or known[0] != edge_index._version:
        known = _ORDERS[edge_index] = (edge_index._version, {})
    if key not in known[1]:
        known[1][key] = compute()
    return known[1][key]


def copy_edges(edge_index: Tensor) -> Tensor:
    """A copy of edges that shares what is known of their order."""
    out = edge_index.clone()
    if not out.is_inference() and not edge_index.is_inference():
        known = _ORDERS.setdefault(edge_index, (edge_index._version, {}))
        if known[0] == edge_index._version:
            _ORDERS[out] = (out._version, known[1])
    return out


@torch.library.custom_op("cl_as_gnn::propagate", mutates_args=())
def _propagate(x: Tensor, weight: Tensor, edge_index: Tensor, csr: Sequence[Tensor], csc: Sequence[Tensor]) -> Tensor:
    """A·x with a backward of one product with the cached transpose, and one dot product per edge for the weights."""
    ptr, index, order = csr
    return _multiply(ptr, index, weight.index_select(0, order), x)


@_propagate.register_fake
def _(x: Tensor, weight: Tensor, edge_index: Tensor, csr: Sequence[Tensor], csc: Sequence[Tensor]) -> Tensor:
    return x.new_empty(csr[0].numel() - 1, x.size(1))


def _propagate_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, edge_index, _, csc = inputs
    ctx.save_for_backward(x, weight, edge_index, *csc)


def _propagate_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, edge_index, ptr, index, order = ctx.saved_tensors
    to_x = _product(ptr, index, weight.index_select(0, order), grad) if ctx.needs_input_grad[0] else None
    to_weight = (x[edge_index[0]] * grad[edge_index[1]]).sum(1) if ctx.needs_input_grad[1] else None
    return to_x, to_weight, None, [None] * 3, [None] * 3


_propagate.register_autograd(_propagate_backward, setup_context=_propagate_setup)


class Adjacency:
    r"""A weighted directed graph as the sparse matrix :math:`A_{ij}` = weight of edge :math:`j \to i`.

    Sorted by target (CSR) and by source (CSC), so that neither the forward nor the backward product makes a message
    per edge. Both orders are computed once per edge tensor and kept while it lives and does not change. PyTorch does
    not detect changes through ``.data`` or NumPy: make a new tensor then.

    .. math::
        \mathrm{matmul}(x) = A x, \quad (Ax)_i = \sum_{j \to i} a_{ij} x_j, \qquad \mathrm{t\_matmul}(x) = A^\top x .

    Args:
        edge_index: ``(2, E)``, row 0 the sources, row 1 the targets (messages flow from row 0 to row 1).
        edge_weight: ``(E,)``; all ones by default. Gradients reach it through :meth:`matmul`.
        num_nodes: nodes, or ``(sources, targets)`` of a bipartite graph.

    Raises:
        ValueError: for edges of another shape, or (on a CPU, at the first product) indices out of range.

    Shapes: ``matmul`` maps ``(sources, d)`` to ``(targets, d)``; ``t_matmul`` the other way.
    """

    def __init__(self, edge_index: Tensor, edge_weight: Tensor | None = None, num_nodes: int | tuple[int, int] = 0):
        if edge_index.dim() != 2 or edge_index.size(0) != 2:
            raise expects("Adjacency", "edge_index", "as integers of shape (2, E)", edge_index)
        sources, targets = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
        self.edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        self.edge_weight = edge_weight
        self.size = (sources, targets)
        self._csr: Order | None = None
        self._csc: Order | None = None

    @property
    def csr(self) -> Order:
        """Row pointer by target, the sources, and the edge of each entry."""
        if self._csr is None:
            self._csr = _order(self.edge_index, 1, self.size)
        return self._csr

    @property
    def csc(self) -> Order:
        """Row pointer by source, the targets, and the edge of each entry."""
        if self._csc is None:
            self._csc = _order(self.edge_index, 0, self.size)
        return self._csc

    def _weight(self, x: Tensor) -> Tensor:
        if self.edge_weight is None:
            return x.new_ones(self.edge_index.size(1))
        return self.edge_weight.to(x.dtype)

    def matmul(self, x: Tensor) -> Tensor:
        weight = self._weight(x)
        if forward_mode(x, weight):
            source, target = self.edge_index
            out: Tensor = x.new_zeros(self.size[1], x.size(1)).index_add(0, target, weight.unsqueeze(1) * x[source])
        elif torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            out = _propagate(x.contiguous(), weight, self.edge_index, self.csr, self.csc)
        else:
            out = self._multiply(self.csr, x)
        return out

    def t_matmul(self, x: Tensor) -> Tensor:
        return self._multiply(self.csc, x)

    def _multiply(self, order: Order, x: Tensor) -> Tensor:
        ptr, index, entry = order
        weight = None if self.edge_weight is None else self.edge_weight.to(x.dtype).index_select(0, entry)
        return _product(ptr, index, weight, x)

    @property
    def row_sum(self) -> Tensor:
        if self.edge_weight is None:
            return self.csr[0].diff().to(torch.get_default_dtype())
        total: Tensor = scatter(self.edge_weight, self.edge_index[1], dim_size=self.size[1], reduce="sum")
        return total

    def to_sparse(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The matrix as a coalesced COO tensor, ``(targets, sources)``."""
        weight = self._weight(self.edge_index.new_empty(0, dtype=dtype))
        size = (self.size[1], self.size[0])
        matrix = torch.sparse_coo_tensor(self.edge_index.flip(0), weight, size, check_invariants=False)
        return matrix.coalesce()

    def to_dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The matrix as a dense tensor, ``(targets, sources)``."""
        source, target = self.edge_index
        flat = torch.zeros(self.size[1] * self.size[0], device=source.device, dtype=dtype)
        weight = self._weight(flat)
        return flat.scatter_add_(0, target * self.size[0] + source, weight).view(self.size[1], self.size[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size[0]} -> {self.size[1]}, edges={self.edge_index.size(1)})"
