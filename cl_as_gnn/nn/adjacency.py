"""Linear operators on node features: what the attracting side of every method is made of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric import EdgeIndex
from torch_geometric.utils import index_sort, scatter
from torch_geometric.utils.sparse import index2ptr

from cl_as_gnn.nn.edges import check_range

# Said once a process to every user; the products used here are stable.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


class LinearOperator(Protocol):
    """A fixed weighted graph as a map on features: ``pull`` is A·x, ``push`` is its transpose, Aᵀ·x."""

    def pull(self, x: Tensor) -> Tensor:
        """Each target collects from its sources."""

    def push(self, x: Tensor) -> Tensor:
        """Each source collects from its targets."""

    @property
    def row_sum(self) -> Tensor:
        """Total weight arriving at each target."""


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
    """The operator for a compiler to see whole; called as it is without one, which costs less."""
    out: Tensor = (_csr_matmul if torch.compiler.is_compiling() else _multiply)(ptr, index, value, x.contiguous())
    return out


Order = tuple[Tensor, Tensor, Tensor]
# Nodes up to which a GPU multiplies graphs densely (256 MB): of a sparse product the host has to wait for the size.
_DENSE = 8192
# By edge tensor, for as long as it lives: training asks for the same few graphs again and again.
_ORDERS = WeakTensorKeyDictionary()


def _order(edge_index: Tensor, by: int, sizes: tuple[int, int]) -> Order:
    """Edges sorted by their row ``by``: row pointer, the other ends, and the edge of each entry."""

    def fresh() -> Order:
        check_range(edge_index, sizes)
        key, order = index_sort(edge_index[by], sizes[by], stable=True)
        return index2ptr(key, sizes[by]), edge_index[1 - by][order], order

    # What is made in inference mode cannot be used in training later.
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or edge_index.is_inference():
        return fresh()
    known: tuple[int, dict[tuple[int, tuple[int, int]], Order]] | None = _ORDERS.get(edge_index)
    if known is None or known[0] != edge_index._version:
        known = _ORDERS[edge_index] = (edge_index._version, {})
    if (by, sizes) not in known[1]:
        known[1][by, sizes] = fresh()
    return known[1][by, sizes]


@torch.library.custom_op("cl_as_gnn::propagate", mutates_args=())
def _propagate(x: Tensor, weight: Tensor, edge_index: Tensor, csr: Sequence[Tensor], csc: Sequence[Tensor]) -> Tensor:
    """A·x whose backward is one product with the cached transpose, and one dot product an edge for the weights."""
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

    Kept sorted by target (CSR) with its transpose beside it, so that neither the forward nor the backward product makes
    a message per edge. Both are made once for an edge tensor, and kept for as long as it lives and is not changed.
    PyTorch does not see changes through ``.data`` or NumPy: make a new tensor then.

    .. math::
        \mathrm{pull}(x) = A x, \quad (Ax)_i = \sum_{j \to i} a_{ij} x_j, \qquad \mathrm{push}(x) = A^\top x .

    Args:
        edge_index: ``(2, E)``, row 0 the sources, row 1 the targets (messages flow from row 0 to row 1).
        edge_weight: ``(E,)``; ones if not given. Gradients reach it through :meth:`pull`.
        num_nodes: nodes, or ``(sources, targets)`` of a bipartite graph.

    Raises:
        ValueError: edges of another shape, or (on a CPU, at the first product) ends that are no node.

    Shapes: ``pull`` maps ``(sources, d)`` to ``(targets, d)``; ``push`` the other way.
    """

    def __init__(self, edge_index: Tensor, edge_weight: Tensor | None = None, num_nodes: int | tuple[int, int] = 0):
        if edge_index.dim() != 2 or edge_index.size(0) != 2:
            raise ValueError(f"Adjacency wants an edge_index of shape (2, E), got {tuple(edge_index.shape)}")
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

    def transpose(self) -> Adjacency:
        r""":math:`A^\top`, with the order of the edges that this one keeps."""
        out = Adjacency(self.edge_index.flip(0), self.edge_weight, self.size[::-1])
        out._csr, out._csc = self.csc, self.csr
        return out

    def _weight(self, x: Tensor) -> Tensor:
        if self.edge_weight is None:
            return x.new_ones(self.edge_index.size(1))
        return self.edge_weight.to(x.dtype)

    def pull(self, x: Tensor) -> Tensor:
        weight = self._weight(x)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            out: Tensor = _propagate(x.contiguous(), weight, self.edge_index, self.csr, self.csc)
        else:
            out = self._multiply(self.csr, x)
        return out

    def push(self, x: Tensor) -> Tensor:
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
        """The matrix itself as a coalesced COO tensor, ``(targets, sources)``."""
        weight = self._weight(self.edge_index.new_empty(0, dtype=dtype))
        size = (self.size[1], self.size[0])
        matrix = torch.sparse_coo_tensor(self.edge_index.flip(0), weight, size, check_invariants=False)
        return matrix.coalesce()

    def to_dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The matrix itself, ``(targets, sources)``."""
        source, target = self.edge_index
        flat = torch.zeros(self.size[1] * self.size[0], device=source.device, dtype=dtype)
        weight = self._weight(flat)
        return flat.scatter_add_(0, target * self.size[0] + source, weight).view(self.size[1], self.size[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size[0]} -> {self.size[1]}, edges={self.edge_index.size(1)})"


class Diffusion:
    r"""Several hops over one graph, without the walks that come back to where they began.

    .. math::
        T = N \left( W^L - \mathrm{diag}(W^L) \right), \qquad
        T_{ij} = \frac{(W^L)_{ij}}{\sum_{k \neq i} (W^L)_{ik}} \;\; (i \neq j),

    with :math:`N` renormalising the rows. Computed hop by hop, :math:`O(L E d)`;
    the diagonal comes from two sparse powers, :math:`(W^L)_{ii} = \sum_j (W^a)_{ij} (W^b)_{ji}` with
    :math:`a + b = L`. A row whose walks all return, or end in nodes without
    edges, keeps no weight.

    Args:
        graph: :math:`W`, square, not negative, with row sums of at most 1.
        num_hops: :math:`L \ge 1`.
    """

    def __init__(self, graph: Adjacency, num_hops: int = 1):
        if num_hops < 1:
            raise ValueError(f"Diffusion wants num_hops >= 1, got {num_hops}")
        self.graph = graph
        self.num_hops = num_hops
        weight = graph.edge_weight
        dtype = torch.get_default_dtype() if weight is None else weight.dtype
        if num_hops == 1:
            source, target = graph.edge_index
            loops = source == target
            value = graph._weight(torch.empty(0, dtype=dtype, device=source.device)) * loops
            self._return: Tensor = scatter(value, target, dim_size=graph.size[1], reduce="sum")
        else:
            dense = graph.edge_index.is_cuda and graph.size[1] <= _DENSE
            self._return = _diagonal_of_power(graph.to_dense(dtype) if dense else graph.to_sparse(dtype), num_hops)
        arrives = self._return.new_ones(graph.size[1], 1)
        for _ in range(num_hops):
            arrives = graph.pull(arrives)
        left = arrives.squeeze(1) - self._return
        self._scale = torch.where(left > 1e-6, 1 / left, 0)

    def pull(self, x: Tensor) -> Tensor:
        out = x
        for _ in range(self.num_hops):
            out = self.graph.pull(out)
        return self._scale.unsqueeze(1) * (out - self._return.unsqueeze(1) * x)

    def push(self, x: Tensor) -> Tensor:
        scaled = self._scale.unsqueeze(1) * x
        out = scaled
        for _ in range(self.num_hops):
            out = self.graph.push(out)
        return out - self._return.unsqueeze(1) * scaled

    @property
    def row_sum(self) -> Tensor:
        return (self._scale > 0).to(self._scale.dtype)


def _diagonal_of_power(matrix: Tensor, power: int) -> Tensor:
    """diag(W^power) of a sparse or dense matrix from W^a and W^b alone, a + b = power."""
    powers = [matrix]
    with torch.autocast(matrix.device.type, enabled=False):
        while len(powers) < (power + 1) // 2:
            powers.append(powers[-1] @ matrix)
    if not matrix.is_sparse:
        return (powers[-1] * powers[power // 2 - 1].t()).sum(1)
    product = (powers[-1].coalesce() * powers[power // 2 - 1].t().coalesce()).coalesce()
    diagonal: Tensor = scatter(product.values(), product.indices()[0], dim_size=matrix.size(0), reduce="sum")
    return diagonal


class ViewsOf:
    r"""A graph of samples lifted to their views: every view of a neighbour is an equal share of the neighbour.

    For a graph :math:`T` of :math:`B` samples with :math:`V` views each, nodes view-major,
    :math:`A = \frac{1}{V} \mathbf{1}\mathbf{1}^\top \otimes T`: average over the views, act, give back to each view.
    """

    def __init__(self, graph: LinearOperator, num_views: int):
        self.graph = graph
        self.num_views = num_views

    def _mean(self, x: Tensor) -> Tensor:
        return x.view(self.num_views, -1, x.size(1)).mean(0)

    def pull(self, x: Tensor) -> Tensor:
        return self.graph.pull(self._mean(x)).repeat(self.num_views, 1)

    def push(self, x: Tensor) -> Tensor:
        return self.graph.push(self._mean(x)).repeat(self.num_views, 1)

    @property
    def row_sum(self) -> Tensor:
        return self.graph.row_sum.repeat(self.num_views)


class Mixture:
    r"""Weighted sum of graphs on the same nodes; where one has no edge into a node, the first takes its share.

    .. math::
        A = \mathrm{diag}(1 - \lambda r) A_0 + \lambda A_1, \qquad r_i = \sum_j (A_1)_{ij} .

    Args:
        first: :math:`A_0`.
        second: :math:`A_1`, with row sums of 0 or 1.
        weight: :math:`\lambda` between 0 and 1; a scalar tensor is not checked, so that nothing waits for the device.
    """

    def __init__(self, first: LinearOperator, second: LinearOperator, weight: float | Tensor):
        if not isinstance(weight, Tensor) and not 0 <= weight <= 1:
            raise ValueError(f"Mixture wants a weight between 0 and 1, got {weight}")
        self.first, self.second, self.weight = first, second, weight
        self._rest = (1 - weight * second.row_sum).unsqueeze(1)

    def pull(self, x: Tensor) -> Tensor:
        return self._rest * self.first.pull(x) + self.weight * self.second.pull(x)

    def push(self, x: Tensor) -> Tensor:
        return self.first.push(self._rest * x) + self.weight * self.second.push(x)

    @property
    def row_sum(self) -> Tensor:
        return self._rest.squeeze(1) * self.first.row_sum + self.weight * self.second.row_sum
