"""A network that was passed from Python, as the encoder: of images, or of graphs."""

from __future__ import annotations

import copy
import hashlib
import inspect
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from cl_as_gnn.compat import import_named
from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.backbone import Backbone, BackboneConfig
from cl_as_gnn.encoders.base import Encoder, Inputs
from cl_as_gnn.errors import AbsentError, ConfigError, reason
from cl_as_gnn.held import find


class GivenConfig(BackboneConfig):
    name: Literal["given"] = "given"
    module: str = Field("", description="class of the module, and a digest of the names and shapes of its tensors")
    source: str | None = Field(None, description="<module>:<class> that makes it again without arguments")


class GivenGNNConfig(EncoderConfig):
    name: Literal["given_gnn"] = "given_gnn"
    module: str = Field("", description="as of given")
    source: str | None = Field(None, description="as of given")
    pool: Literal["sum", "mean", "max"] | None = Field(None, description="graphs: how one is made of its nodes (sum)")
    projector_act: Literal["elu", "prelu", "relu", "bn_relu"] = Field("elu", description="as of PyG's models")


def described(module: nn.Module) -> dict[str, str | None]:
    """The settings ``module`` and ``source`` of a network.

    Raises:
        ConfigError: it has parameters whose sizes are not known yet.
    """
    for name, tensor in module.named_parameters():
        if isinstance(tensor, UninitializedParameter):
            raise ConfigError(f"encoder: {name} of {type(module).__name__} has no size yet: give in_channels")
    kind = type(module)
    source: str | None = f"{kind.__module__}:{kind.__qualname__}"
    try:
        with torch.random.fork_rng(devices=[]):
            same = kind.__module__ != "__main__" and digest(import_named(str(source))()) == digest(module)
    except Exception:  # whatever the user's code raises without arguments
        same = False
    return {"module": digest(module), "source": source if same else None}


def digest(module: nn.Module) -> str:
    """Class, and digest of the names and shapes of parameters and buffers."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in module.state_dict().items() if hasattr(value, "shape")]
    kinds = [f"{name} {type(part).__name__}" for name, part in module.named_modules()]
    return f"{type(module).__name__}-{hashlib.sha256(repr((shapes, kinds)).encode()).hexdigest()[:8]}"


def module_again(config: GivenConfig | GivenGNNConfig) -> nn.Module:
    """A copy of the module as it was given, or one made by its class; AbsentError if neither is there."""
    if (given := find(config.module)) is not None:
        return copy.deepcopy(given)  # type: ignore[no-any-return]
    again = f"the encoder of this run, {config.module}, was a module of a Python session"
    cure = "pass it again, as in cl_as_gnn.load(RUN, encoder=module) or cl_as_gnn.train(resume=RUN, encoder=module)"
    if config.source is None:
        raise AbsentError(f"{again}: {cure}")
    try:
        made: Any = import_named(config.source)()
    except Exception as error:  # whatever the user's code raises
        raise AbsentError(f"{again}, and {config.source} cannot be made ({reason(error)}): {cure}") from None
    if not isinstance(made, nn.Module) or digest(made) != config.module:
        raise AbsentError(f"{again}, and {config.source} makes another one by now: {cure}")
    return made


class Given(Backbone):
    """An ``nn.Module`` of the caller, images ``(n, C, S, S)`` to features; it is copied, with its weights."""

    Config = GivenConfig
    summary = "an nn.Module that was passed to cl_as_gnn.train"
    passed = True

    @classmethod
    def make(cls, config: GivenConfig, channels: int, side: int) -> nn.Module:
        if config.drop_path is not None:
            raise ConfigError(f"encoder.drop_path={config.drop_path} is for models of timm and torchvision: drop it")
        return module_again(config)


class GivenGNN(Encoder):
    """A GNN of the caller, called with ``x, edge_index`` (and ``batch`` if it takes it), or with the ``Data``.

    Shapes:
        As :class:`~cl_as_gnn.encoders.GraphEncoder`; on whole graphs the module may return features of the nodes, which
        are pooled, or of the graphs.
    """

    Config = GivenGNNConfig
    reads = ("nodes", "graphs")
    summary = "a GNN that was passed to cl_as_gnn.train"
    passed = True

    @classmethod
    def build(cls, config: GivenGNNConfig, inputs: Inputs) -> GivenGNN:
        return cls(module_again(config), inputs)

    def __init__(self, body: nn.Module, inputs: Inputs):
        super().__init__()
        self.body, self.pool = body, inputs.pool
        self._takes = inspect.signature(body.forward).parameters.keys() & {"edge_index", "batch", "batch_size"}
        self.out_dim, self._of_nodes = self._measure(inputs)

    @property
    def network(self) -> nn.Module:
        return self.body

    @torch.no_grad()
    def _measure(self, inputs: Inputs) -> tuple[int, bool]:
        """Width of the features, and whether they are those of nodes, by two graphs of three nodes."""
        edges = torch.tensor([[0, 1, 1, 2, 3, 4, 4, 5], [1, 0, 2, 1, 4, 3, 5, 4]])
        data = Data(x=torch.zeros(6, inputs.channels), edge_index=edges, batch=torch.arange(2).repeat_interleave(3))
        data.num_graphs = 2
        name, was_training = type(self.body).__name__, self.training
        self.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                out: Any = self._call(data)
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(
                f"encoder {name} cannot read a graph with {inputs.channels} features per node ("
                f"{reason(error)}): expects forward(x, edge_index), forward(x, edge_index, batch) or forward(data)"
            ) from None
        self.train(was_training)
        rows = (6,) if self.pool is None else (6, 2)
        if not isinstance(out, Tensor) or out.dim() != 2 or out.size(0) not in rows:
            raise ConfigError(f"encoder {name} expects one row of features per node{' or graph' * (len(rows) > 1)}")
        return out.size(1), out.size(0) == 6

    def _call(self, data: Data) -> Tensor:
        x = data.x if data.x.layout == torch.strided else data.x.to_dense()
        if "edge_index" not in self._takes:
            data = copy.copy(data)
            data.x = x
            out: Tensor = self.body(data)
            return out
        more = {"batch": data.batch} if "batch" in self._takes else {}
        if "batch_size" in self._takes and data.batch is not None:
            more["batch_size"] = int(data["num_graphs"])
        called: Tensor = self.body(x, data.edge_index, **more)
        return called

    def forward(self, data: Data) -> Tensor:
        with torch.autocast(data.x.device.type, enabled=False):
            z = self._call(data)
        if self.pool is not None:
            count = int(data["num_graphs"])
            if self._of_nodes:
                z = scatter(z, data.batch, dim=0, dim_size=count, reduce=self.pool)
            elif len(z) < count:  # the last graphs have lost all nodes in this view
                z = F.pad(z, (0, 0, 0, count - len(z)))
        return z[data["chosen"]] if "chosen" in data else z
