"""Base classes of the methods: how views become a graph, and which terms move its nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.config import EncoderConfig, MethodConfig
from cl_as_gnn.encoders.base import Encoder
from cl_as_gnn.encoders.heads import mlp_head, plain_head
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import FeatureQueue, view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods.batch import Batch as Batch
from cl_as_gnn.methods.batch import Preview as Preview
from cl_as_gnn.nn.distributed import LocalRows, gather_views, local_rows
from cl_as_gnn.nn.operators import Adjacency, LinearOperator
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion, Term, objective
from cl_as_gnn.nn.unit import unit_rows
from cl_as_gnn.registry import METHODS


class SoftmaxConfig(MethodConfig):
    """Settings of every method with a softmax over other nodes."""

    temperature: float = Field(0.5, gt=0, le=10, description="temperature τ of the softmax")


class MomentumConfig(MethodConfig):
    """Settings of every method whose target is a momentum copy of the network."""

    momentum: float = Field(0.99, ge=0, le=1, description="initial momentum m of the target; rises to 1 by a cosine")


class MemoryConfig(MethodConfig):
    """Settings of every method with a queue or a bank."""

    shared: bool = Field(False, description="on several ranks each holds its part of the memory, with the same results")


class QueueConfig(MemoryConfig):
    """Settings of every method with a queue."""

    queue_size: int = Field(1024, ge=1, description="features of the latest samples kept in the queue")


ConfigT = TypeVar("ConfigT", bound=MethodConfig)
SoftmaxConfigT = TypeVar("SoftmaxConfigT", bound=SoftmaxConfig)
QueueConfigT = TypeVar("QueueConfigT", bound=QueueConfig)


class Network(nn.Sequential):
    """Encoder and projector. Views of several sizes are encoded in a pass each, and projected together."""

    def forward(self, inputs: Any) -> Tensor:
        encoder, projector = self
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        encoded = [encoder(part) for part in parts]
        out: Tensor = projector(encoded[0] if len(encoded) == 1 else torch.cat(encoded))
        return out


def adjacency_of(data: HeteroData, kind: tuple[str, str, str]) -> Adjacency:
    """Return the edges of one type as an operator from the source nodes to the target nodes."""
    edges, sizes = data[kind], (data[kind[0]].num_nodes, data[kind[2]].num_nodes)
    return Adjacency(edges.edge_index, edges.get("edge_weight"), sizes)


class Method(nn.Module, Generic[ConfigT]):
    """Base class of every method.

    :meth:`forward` processes one batch: ``graph`` (encoder, projector, minibatch graph) → ``rewire`` (further nodes and
    edges) → ``terms`` (what attracts and what repels) → loss value, whose ``backward`` sends the messages to the
    encoder → ``update_memory`` (queues and banks). A subclass overrides only the steps in which it differs.

    On several ranks each rank encodes its own samples, and :meth:`graph` gathers the features of all ranks: every rank
    builds the graph of the global batch and keeps the same memories. Layers that mix the rows of a batch (batch
    normalization, whitening, ContraNorm) use the statistics of all ranks. In DDP with ``broadcast_buffers=False`` the
    result equals that of one process on the global batch.

    A subclass sets ``Config``, whose ``name`` is the name of the method, and the lines that ``clgnn methods`` prints:
    ``attracts``, ``repels`` and ``source``. ``reads`` lists the kinds of sample that the method accepts.

    Args:
        config: settings of the method.
        encoder: network from inputs to features; its ``out_dim`` is the feature dimension.
        heads: sizes of projector and predictor.
        num_samples: size of the training set, which bounds queues and sizes banks.
    """

    Config: ClassVar[type[MethodConfig]]
    attracts: ClassVar[str]
    repels: ClassVar[str]
    source: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("images", "nodes", "graphs")
    unequal_views: ClassVar[bool] = False
    """Whether views of photographs are drawn as in BYOL, one of two blurred always and the other solarized at times."""
    reads_labels: ClassVar[bool] = False
    """Whether training reads labels, so that data without any are refused before it starts."""
    projector_norm: ClassVar[Literal["affine", "plain"] | None] = None
    """Batch normalization after the last projector layer: with a learned scale and shift, without, or none."""
    needs_patches: ClassVar[bool] = False
    """Whether it hides patches of images, so that the encoder must be one that works on patches."""
    needs_split: ClassVar[bool] = False
    """Whether it contrasts the channels of an image, so that two encoders must read them (``encoder.split``)."""
    nodes: ClassVar[str] = "view"
    """Type of the nodes on which the terms act."""
    unscaled: tuple[str, ...] = ()
    """Node types whose features :meth:`normalize` leaves alone: :meth:`rewire` normalizes them."""
    neighbors_from: ClassVar[str | None] = None
    """``"batch"`` or ``"training set"``: what caps the number ``method.k`` of neighbors of a sample, if anything."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            METHODS.register(cls)

    def __init__(self, config: ConfigT, encoder: nn.Module, heads: EncoderConfig, num_samples: int):
        super().__init__()
        self.config, self.heads, self.num_samples = config, heads, num_samples
        self.encoder = encoder
        width: int = getattr(encoder, "out_dim")  # noqa: B009  (nn.Module types its attributes as tensors)
        self.projector = self.build_projector(width)
        self.build_modules()

    def build_projector(self, in_dim: int) -> nn.Module:
        """Build the head from encoder features to the features on which messages act."""
        heads, norm = self.heads, self.projector_norm
        sizes = (in_dim, heads.projector_hidden, heads.projector_dim, heads.projector_layers)
        act: str = getattr(heads, "projector_act", "bn_relu")
        if act != "bn_relu" and norm is None:
            return plain_head(*sizes, act)
        return mlp_head(*sizes, last_bn=norm is not None, last_affine=norm == "affine")

    def build_modules(self) -> None:
        """Create the modules besides encoder and projector: predictor, target, memory. The default has none."""

    def normalize(self, z: Tensor) -> Tensor:
        """Map network outputs to the space of the messages; the default is the unit sphere."""
        return unit_rows(z)

    def no_weight_decay(self) -> set[str]:
        """Name the parameters without weight decay: the encoder's own choice, and the vectors of everything else."""
        vectors = {name for name, p in self.named_parameters() if p.dim() <= 1 and not name.startswith("encoder.")}
        if not isinstance(self.encoder, Encoder):
            return {name for name, parameter in self.named_parameters() if parameter.dim() <= 1}
        return vectors | {f"encoder.{name}" for name in self.encoder.no_weight_decay()}

    def rate_factors(self) -> dict[str, float]:
        """Factors on the learning rate by name of the parameter, 1 where there is none: the encoder's own choice."""
        own = self.encoder.rate_factors() if isinstance(self.encoder, Encoder) else {}
        return {f"encoder.{name}": factor for name, factor in own.items()}

    @classmethod
    def recipe(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a config on images leaves open, by section, given the settings of the method."""
        return {}

    def prepare(self, preview: Callable[[], Preview]) -> list[str]:
        """Fit what is fitted before training, into buffers, to training images; return lines that say so.

        Called once, not when a stopped run continues. The default does nothing.
        """
        return []

    def scores(self, preview: Callable[[], Preview]) -> dict[str, Any]:
        """Return scores of the method's own, for ``metrics.json``, on held-out images. The default has none."""
        return {}

    def begin_epoch(self, progress: float) -> None:
        """Prepare an epoch, given the completed share of the training. The default does nothing."""

    @property
    def node_views(self) -> int:
        """Nodes of a sample in the minibatch graph: by default one for each view that is drawn."""
        return self.config.num_views

    def positives(self, features: Tensor) -> Tensor:
        """Map encoder features of two views ``(2 · m, out_dim)`` to projections of positive pairs ``(2 · m, d)``, both
        view-major."""
        out: Tensor = self.projector(features)
        return out

    def project(self, inputs: Any) -> Tensor:
        """Return the projector output for each view of this rank, not normalized."""
        out: Tensor = Network(self.encoder, self.projector)(inputs)
        return out

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Return the network outputs of this rank by node type, view-major and not normalized."""
        return {"view": self.project(batch.inputs)}

    def graph(self, batch: Batch) -> HeteroData:
        """Build the minibatch graph: normalized features of all ranks as nodes, and augmentation edges."""
        encoded, num_views = self.encode(batch), self.node_views
        with torch.autocast(encoded["view"].device.type, enabled=False):
            wide = {kind: z if z.dtype == torch.float64 else z.float() for kind, z in encoded.items()}
            parts = {kind: z if kind in self.unscaled else self.normalize(z) for kind, z in wide.items()}
            x = {kind: gather_views(z, num_views) for kind, z in parts.items()}
            data = view_graph(x.pop("view"), num_views, batch.sample)
            for kind, features in x.items():
                data[kind].x = features
        return data

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        """Add or remove nodes and edges. The default returns the graph unchanged."""
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        """Return the terms that act on ``data[self.nodes].x``."""
        raise NotImplementedError

    def update_memory(self, data: HeteroData) -> None:
        """Write to queues and banks after the messages have been computed. The default does nothing."""

    @property
    def local_rows(self) -> LocalRows | None:
        """The gathered rows whose messages this rank needs; ``None`` on one rank, which needs all."""
        return local_rows(self.node_views)

    def labels_of(self, batch: Batch) -> Tensor:
        """Return the labels of a batch, or raise ``ConfigError`` if the data set has none."""
        if batch.labels is None:
            raise ConfigError(f"method.name={self.config.name} expects labels: choose a method without, such as gcn")
        return batch.labels

    def forward(self, batch: Batch) -> tuple[Tensor, HeteroData]:
        """Return the loss of a batch, whose ``backward`` sends the messages to the encoder, and its graph."""
        batch = batch.joined()
        data = self.rewire(self.graph(batch), batch)
        loss = objective(data[self.nodes].x, *self.terms(data, batch))
        self.update_memory(data)
        return loss, data


class SoftmaxMethod(Method[SoftmaxConfigT]):
    """Base class of methods that attract along a graph of positives and repel along the complete affinity graph.

    A subclass overrides ``attract`` for other positives and ``repel`` for another repulsion.
    """

    repels = "softmax over all other views, ½(P + Pᵀ)"

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        """Return A⁺ on the views. The default uses the augmentation edges, weighted equally if they have no weights."""
        edges, x = data[AUGMENTATION], data["view"].x
        if "edge_weight" not in edges:
            share = 1 / (self.config.num_views - 1)
            return Adjacency(edges.edge_index, x.new_full((edges.edge_index.size(1),), share), x.size(0))
        return adjacency_of(data, AUGMENTATION)

    def repel(self, data: HeteroData, attraction: LinearOperator) -> Term:
        """Return the repelling term. The default weights each anchor by its attraction."""
        return SoftmaxRepulsion(self.config.temperature, attraction.row_sum, own=self.local_rows)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        attraction = self.attract(data, batch)
        return [Attraction(attraction, self.config.temperature), self.repel(data, attraction)]


class TargetMethod(Method[ConfigT]):
    r"""Base class of methods whose views attract to target nodes without gradient, along one-way edges.

    The target of a view is its own projection with the gradient stopped. If ``Config`` is a :class:`MomentumConfig`, it
    is the projection by a slow copy of encoder and projector, updated before each step by
    :math:`w' \leftarrow m w' + (1 - m) w`. Messages flow from the targets of the other views to each view. By default
    the projector ends in batch normalization without learned scale, as in SimSiam; else short runs nearly collapse.
    """

    repels = "nothing (predictor and stop-gradient prevent collapse)"
    projector_norm: ClassVar[Literal["affine", "plain"] | None] = "plain"
    has_predictor: ClassVar[bool] = True
    """Whether a predictor maps the projections to the nodes that are attracted."""

    def build_modules(self) -> None:
        heads, follows = self.heads, isinstance(self.config, MomentumConfig)
        self.target = MomentumCopy(Network(self.encoder, self.projector)) if follows else None
        self.predictor: nn.Module = nn.Identity()
        if self.has_predictor:
            self.predictor = mlp_head(heads.projector_dim, heads.predictor_hidden, heads.projector_dim, 2)

    def momentum(self, progress: float) -> float:
        """Return m, which rises from the configured value to 1 along half a cosine."""
        assert isinstance(self.config, MomentumConfig)
        return 1 - (1 - self.config.momentum) * (1 + math.cos(math.pi * progress)) / 2

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        if self.target is not None and self.training:
            self.target.update(Network(self.encoder, self.projector), self.momentum(batch.progress))
        z = self.project(batch.inputs)
        view = self.predictor(z)
        return {"view": view, "target": z.detach() if self.target is None else self.target(batch.inputs)}

    def graph(self, batch: Batch) -> HeteroData:
        data = super().graph(batch)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
        return data

    def attract(self, data: HeteroData, batch: Batch) -> LinearOperator:
        """Return A⁺ from targets to views. The default uses the edges from the targets of the other views."""
        return adjacency_of(data, TARGET_AUGMENTATION)

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        return [Attraction(self.attract(data, batch), source=data["target"].x)]


class QueueMethod(Method[QueueConfigT]):
    """Mixin for methods with a queue of the features of the first view of the latest samples."""

    random_start: ClassVar[bool] = False
    """Whether the queue starts with random features instead of empty."""
    queued: ClassVar[tuple[str, str]] = ("target", "x")
    """Node type and attribute of the features that enter the queue."""

    def build_modules(self) -> None:
        super().build_modules()
        size, dim = self.queue_rows(), self.heads.projector_dim
        # A setting of methods that look up neighbors (methods/lookup.py).
        above = getattr(self.config, "lists_above", size)
        self.queue = FeatureQueue(size, dim, self.config.shared, size > above)
        if self.random_start:
            self.queue.push(torch.randn(size, dim), torch.full((size,), -1))

    def queue_rows(self) -> int:
        """Return the size of the queue: at most one row per sample of the training set."""
        return min(self.config.queue_size, self.num_samples)

    def rewire(self, data: HeteroData, batch: Batch) -> HeteroData:
        """Add the rows of the queue that this rank holds; a method that looks up neighbors adds only those."""
        data["queue"].x, data["queue"].sample = self.queue.held(), self.queue.sample[self.queue.here]
        return data

    def update_memory(self, data: HeteroData) -> None:
        size, (kind, attribute) = data["view"].x.size(0) // self.config.num_views, self.queued
        self.queue.push(data[kind][attribute][:size], data["view"].sample[:size])


def build_method(config: MethodConfig, encoder: nn.Module, heads: EncoderConfig, num_samples: int) -> Method[Any]:
    """Build the method that a config names."""
    kind = METHODS[config.name]
    if heads.projector_layers == 0:  # messages act on the features themselves
        heads = heads.model_copy(update={"projector_dim": encoder.out_dim})
    return kind(config, encoder, heads, num_samples)
