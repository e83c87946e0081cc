from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import scatter

from cl_as_gnn.nn.checks import Got, check_count, check_flag, check_number, check_weights, expects
from cl_as_gnn.nn.edges import Features, as_edges, widen
from cl_as_gnn.nn.operators import Adjacency

# Hooks that read or change single messages of PyG's `propagate`.
_HOOKS = tuple(
    f"_{step}_forward_{when}hooks" for step in ("propagate", "message", "aggregate") for when in ("pre_", "")
)


class EdgeLayer(MessagePassing):  # type: ignore[misc]
    """Base class of the layers on edges: when they make single messages, and the width that explainers ask for.

    ``in_channels`` and ``out_channels`` are the width of the features of the last call, which
    ``torch_geometric.explain.GraphMaskExplainer`` reads. PyG explains no class whose base class has been instantiated:
    those of this file never are, except :class:`Hop`, which has no subclass.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._width: int | None = None

    @property
    def in_channels(self) -> int:
        """Width of the features of the last call along edges; ``ValueError`` if there was none."""
        if self._width is None:
            cure = "call the model once before GraphMaskExplainer, with edges in every layer"
            raise expects(type(self).__name__, "a call along edges", "before in_channels", Got("none"), cure)
        return self._width

    out_channels = in_channels

    def reset_parameters(self) -> None:
        r"""No parameters; PyG's containers call it."""

    def by_messages(self, kind: type[EdgeLayer], x: Tensor) -> bool:
        """Whether each message must be made: for an explainer, a hook, or a subclass of ``kind`` with its own."""
        if not torch.compiler.is_compiling():
            for layer in (self, *getattr(self, "hops", ())):
                layer._width = x.size(-1)
        changed = type(self).message is not kind.message or type(self).aggregate is not MessagePassing.aggregate
        return bool(self.explain) or changed or any(getattr(self, name) for name in _HOOKS)


class Summing(EdgeLayer):
    """Base class of the layers whose messages are the features of the sources times a weight of the edge."""

    def send(self, edge_index: Tensor, x: tuple[Tensor, Tensor], edge_weight: Tensor, size: tuple[int, int]) -> Tensor:
        """Sum the messages ``edge_weight · x_j`` at each target."""
        out: Tensor = self.propagate(edge_index, x=x, edge_weight=edge_weight, size=size)
        return out

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return edge_weight.unsqueeze(-1) * x_j


class Hop(Summing):
    """A further hop of a layer: a layer of its own, because explainers count hops, and read messages, by layers."""

    def __repr__(self) -> str:
        return "Hop()"


class Aggregation(Summing):
    r"""Base class of the layers that sum the messages :math:`\hat{A}^L X` of L hops, each a layer for an explainer."""

    def __init__(self, step_size: float, num_hops: int, normalize: bool, **kwargs: Any):
        super().__init__(**kwargs)
        name = type(self).__name__
        check_number(name, step_size=step_size)
        check_count(name, num_hops=num_hops)
        check_flag(name, normalize=normalize)
        self.step_size = step_size
        self.num_hops = num_hops
        self.normalize = normalize
        self.hops = torch.nn.ModuleList(Hop() for _ in range(num_hops - 1))

    def gather(self, x: Features, edge_index: Adj, edge_weight: OptTensor = None) -> Tensor:
        r"""The message alone, :math:`\hat{A}^L X`: zeros for a node without incoming edges."""
        return self._aggregate(x, edge_index, edge_weight)[0].to((x[0] if isinstance(x, tuple) else x).dtype)

    def _attract(self, x: Features, edge_index: Adj, edge_weight: OptTensor) -> Tensor:
        """The features after a step along the edges."""
        out, target, degree = self._aggregate(x, edge_index, edge_weight)
        step = self.step_size * (degree != 0).to(out.dtype)
        return torch.lerp(target, out, step.unsqueeze(1)).to((x[1] if isinstance(x, tuple) else x).dtype)

    def _aggregate(self, x: Features, edge_index: Adj, edge_weight: OptTensor) -> tuple[Tensor, Tensor, Tensor]:
        """Messages, targets, and the in-degree of each target (of absolute weights if not normalized)."""
        name = type(self).__name__
        source, target = widen(name, x)
        if isinstance(x, tuple) and self.num_hops > 1:
            raise expects(name, "num_hops", "as 1 for a bipartite graph", self.num_hops)
        edge_index, edge_weight = as_edges(name, (source, target), edge_index, edge_weight)
        if self.normalize:
            check_weights(name, edge_weight, "use normalize=False for signed weights")
        if edge_weight is None:
            edge_weight = source.new_ones(edge_index.size(1))
        row, column = edge_index[0], edge_index[1]
        weight = edge_weight.to(source.dtype)
        if self.normalize:
            degree = scatter(weight, column, dim_size=target.size(0), reduce="sum")
            out_degree = scatter(weight, row, dim_size=source.size(0), reduce="sum")
            weight = weight * _inverse_root(out_degree)[row] * _inverse_root(degree)[column]
        else:
            degree = scatter(weight.abs(), column, dim_size=target.size(0), reduce="sum")
        out, size = source, (source.size(0), target.size(0))
        if not self.by_messages(Summing, source):
            graph = Adjacency(edge_index, weight, size)
            for _ in range(self.num_hops):
                out = graph.matmul(out)
            return out, target, degree
        explained = self.explain and type(self).message is Summing.message
        for hop in [self, *self.hops] if explained else [self] * self.num_hops:
            out = hop.send(edge_index, (out, target), weight, size)
        return out, target, degree


def _inverse_root(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, degree.clamp(min=torch.finfo(degree.dtype).tiny).rsqrt(), 0)
