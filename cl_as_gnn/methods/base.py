"""A method: how views become a graph, and the two operators that move its nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.config import EncoderConfig, GNNConfig, MethodConfig
from cl_as_gnn.encoders.heads import mlp_head, plain_head
from cl_as_gnn.errors import ConfigError, unknown
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.nn.distributed import gather_views, local_rows
from cl_as_gnn.nn.operators import Adjacency, LinearOperator
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion, Term, objective

ConfigT = TypeVar("ConfigT", bound=MethodConfig)
SoftmaxConfigT = TypeVar("SoftmaxConfigT", bound="SoftmaxConfig")
METHODS: dict[str, type[Method[Any]]] = {}


@dataclass
class Batch:
    """One batch: V views of B images, view-major; ``labels`` ``(B,)`` are for methods that say so (−1 = unknown).

    Where the batch lies on several ranks, ``inputs`` are this rank's own, and :meth:`joined` has the ``sample`` and
    ``labels`` of all of them.

    Where the samples are nodes or graphs, ``inputs`` is a ``Data`` that holds every view, and the encoder turns it into
    the V·B rows.
    """

    inputs: Tensor | Data
    sample: Tensor
    progress: float
    labels: Tensor | None = None

    def joined(self) -> Batch:
        labels = None if self.labels is None else gather_views(self.labels)
        return replace(self, sample=gather_views(self.sample), labels=labels)


class SoftmaxConfig(MethodConfig):
    """Settings of every method that repels through a softmax."""

    temperature: float = Field(0.5, gt=0, le=10, description="τ of the softmax over all other views")


class Method(nn.Module, Generic[ConfigT]):
    """Base of every method: encoder wiring, rewiring, an attracting and a repelling operator.

    The walk of a batch is :meth:`forward`: ``graph`` (encoder, projector, minibatch graph) → ``nn_positives`` (bank and
    neighbour edges) → ``terms`` (the two operators) → loss value, with the message handed back on ``backward`` →
    ``update_memory`` (banks). A new method overrides what differs and nothing else.

    On several ranks each encodes its own images and :func:`gather_views` joins what comes out, so that all ranks see
    one graph, that of the global minibatch, and their banks stay equal. What mixes the batch before that (batch
    normalization, whitening) takes its statistics over all ranks. Wrap the module in DDP with
    ``broadcast_buffers=False``; the result is that of one process on the global batch.

    Subclasses set ``Config`` (its ``name`` is the method's name) and the three lines that ``clgnn methods`` prints;
    ``reads`` where the samples cannot be of every kind.

    Args:
        config: the method's settings.
        encoder: images to features, with ``out_dim``.
        heads: sizes of projector and predictor.
        num_samples: images in the training set, for banks with a row a sample.
    """

    Config: ClassVar[type[MethodConfig]]
    attracts: ClassVar[str]
    repels: ClassVar[str]
    source: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("images", "nodes", "graphs")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            METHODS[cls.Config.model_fields["name"].default] = cls

    def __init__(self, config: ConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.heads = heads
        self.num_samples = num_samples
        width: int = getattr(encoder, "out_dim")  # noqa: B009  (nn.Module types its attributes as tensors)
        self.projector = self.build_projector(width)

    def build_projector(self, in_dim: int) -> nn.Module:
        """Features of the encoder to the features that messages act on."""
        heads = self.heads
        if isinstance(heads, GNNConfig) and heads.projector_act != "bn_relu":
            return plain_head(
                in_dim, heads.projector_hidden, heads.projector_dim, heads.projector_layers, heads.projector_act
            )
        return mlp_head(in_dim, heads.projector_hidden, heads.projector_dim, heads.projector_layers)

    def normalize(self, z: Tensor) -> Tensor:
        """Where features live: on the unit sphere."""
        return F.normalize(z, dim=1)

    def begin_epoch(self, progress: float) -> None:
        """Called before each epoch, ``progress`` the share of the training that is done; nothing by default."""

    def project(self, images: Any) -> Tensor:
        """Views to what the projector makes of them, not placed yet."""
        out: Tensor = self.projector(self.encoder(images))
        return out

    def graph(self, batch: Batch) -> HeteroData:
        """Features of the views as nodes, with augmentation edges."""
        z = self.project(batch.inputs)
        with torch.autocast(z.device.type, enabled=False):
            x = gather_views(self.normalize(z.float()), self.config.num_views)
            return view_graph(x, self.config.num_views, batch.sample)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        """Add or drop nodes and edges; nothing by default."""
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        """The operators that act on ``data['view'].x``."""
        raise NotImplementedError

    def update_memory(self, data: HeteroData) -> None:
        """Write to banks, after the messages have been computed; nothing by default."""

    def forward(self, batch: Batch) -> tuple[Tensor, HeteroData]:
        """Loss of a batch, whose ``backward`` hands the message to the encoder, and the graph it was computed on."""
        batch = batch.joined()
        data = self.rewire(self.graph(batch), batch)
        loss = objective(data["view"].x, *self.terms(data, batch))
        self.update_memory(data)
        return loss, data


class SoftmaxMethod(Method[SoftmaxConfigT]):
    """Methods that attract along a graph of positives and repel along the complete affinity graph."""

    repels = "softmax over all other views, ½(P + Pᵀ)"

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        """A⁺ among the views, rows summing to one: here the augmentation edges, with their weights if they have any."""
        edges, n = data[AUGMENTATION], data["view"].x.size(0)
        weight = edges.get("edge_weight")
        if weight is None:
            weight = data["view"].x.new_full((edges.edge_index.size(1),), 1 / (self.config.num_views - 1))
        return Adjacency(edges.edge_index, weight, n)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        graph, temperature = self.attract(data, batch), self.config.temperature
        repel = SoftmaxRepulsion(temperature, graph.row_sum, own=local_rows(self.config.num_views))
        return [Attraction(graph, temperature), repel]


def build_method(config: MethodConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int) -> Method[Any]:
    """The method that a config names."""
    if config.name not in METHODS:
        raise ConfigError(unknown("method", config.name, METHODS, key="method.name"))
    if heads.projector_layers == 0:  # messages act on the features themselves
        heads = heads.model_copy(update={"projector_dim": encoder.out_dim})
    return METHODS[config.name](config, encoder, heads, num_samples)
