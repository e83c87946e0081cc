"""A weighted sum over the edges of a graph, forward and backward: cached CSR, and two ways that PyG has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing, SimpleConv

from benchmarks.common.timing import Contender, Row, Settings, Work
from cl_as_gnn.nn import AlignmentConv
from cl_as_gnn.nn.operators import Adjacency

LAYERS = ("AlignmentConv", "the same, COO")


class Propagate(MessagePassing):  # type: ignore[misc]
    """A message of its own for every edge, as most layers are written."""

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        out: Tensor = self.propagate(edge_index, x=x, edge_weight=edge_weight)
        return out

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return edge_weight.unsqueeze(-1) * x_j


def rows(settings: Settings, n: int | None = None, num_edges: int | None = None, dim: int = 128) -> Iterator[Row]:
    """One row: the product alone, and the layer around it that sorts and normalizes the edges at every call."""
    n, num_edges = n or (1024 if settings.quick else 8192), num_edges or (11_000 if settings.quick else 90_000)
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(n, (2, num_edges), generator=generator).to(settings.device)
    weight = torch.rand(num_edges, generator=generator).to(settings.device)
    x = torch.randn(n, dim, generator=generator).to(settings.device).requires_grad_()
    grad = torch.randn(n, dim, generator=generator).to(settings.device)
    order = edges[1].argsort(stable=True)
    ptr = torch.searchsorted(edges[1][order], torch.arange(n + 1, device=settings.device))
    matrix = torch.sparse_csr_tensor(ptr, edges[0][order], weight[order], (n, n), check_invariants=False)
    graph, propagate, simple, layer = Adjacency(edges, weight, n), Propagate(), SimpleConv(aggr="sum"), AlignmentConv()
    by_message = AlignmentConv()
    by_message.register_message_forward_hook(lambda *_: None)  # whoever watches messages gets them, one an edge

    def both(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            del x.grad
            forward().backward(grad)
            assert x.grad is not None
            return x.grad

        return call

    forwards: dict[str, Callable[[], Tensor]] = {
        "Adjacency.matmul": lambda: graph.matmul(x),
        "SimpleConv, CSR": lambda: simple(x, matrix),
        "propagate, COO": lambda: propagate(x, edges, weight),
        "AlignmentConv": lambda: layer(x, edges, weight),
        "the same, COO": lambda: by_message(x, edges, weight),
    }
    # Both passes read x (or its gradient) and each edge once and write a result.
    work = Work(flops=4 * num_edges * dim, bytes=2 * (2 * n * dim * 4 + num_edges * 12))
    exact = both(forwards["propagate, COO"])().double()
    contenders = []
    for name, forward in forwards.items():
        call = both(forward)
        apart = float((call().double() - exact).norm() / exact.norm()) if name not in LAYERS else None
        contenders.append(Contender(name, call, work, extra={"apart": apart}))
    yield Row(
        "sparse",
        f"{n} nodes",
        contenders,
        {"n": n, "edges": num_edges, "d": dim},
        [
            "forward + backward to x; apart: relative difference of the gradient to COO's",
            "AlignmentConv does more: it normalizes the edges at every call, and steps from x to the result",
            "floor: x, edges and result pass memory once (or the flops, if they take longer)",
        ],
    )
