"""GNN encoders: PyG's models, from a graph to features of its nodes, or of the graphs in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import APPNP, GAT, GCN, GIN, GraphSAGE, MeanSubtractionNorm, PairNorm
from torch_geometric.nn.resolver import activation_resolver
from torch_geometric.utils import scatter, to_torch_csr_tensor

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.base import Encoder, Inputs
from cl_as_gnn.nn import ContraNorm

_MODELS = {"gcn": GCN, "gat": GAT, "sage": GraphSAGE, "gin": GIN}

_NORMS: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda width: None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "pair": lambda width: PairNorm(),
    # Centering is the control of ContraNorm, which ends in a LayerNorm.
    "mean_subtraction": lambda width: nn.Sequential(MeanSubtractionNorm(), nn.LayerNorm(width)),
    "contra": ContraNorm,
}


class GNNConfig(EncoderConfig):
    """A GNN of PyG under study, and the head."""

    name: Literal["gnn"] = "gnn"
    conv: Literal["gcn", "gat", "sage", "gin"] = Field("gcn", description="what PyG's model is made of")
    width: int = Field(256, ge=1, le=4096, description="channels of the hidden layers")
    out_width: int | None = Field(None, ge=1, le=4096, description="channels of the last layer; None = width")
    num_layers: int = Field(2, ge=1, le=64, description="convolutions, one after the other")
    act: Literal["relu", "prelu", "elu", "rrelu"] = Field("relu", description="activation between the layers")
    norm: Literal["none", "batch", "layer", "pair", "mean_subtraction", "contra"] = Field(
        "none", description="after every layer but the last, before its activation"
    )
    last_act: bool = Field(False, description="norm and activation after the last layer too")
    jk: Literal["last", "cat"] = Field("last", description="features: of the last layer, or of all layers concatenated")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the hidden channels dropped in training")
    hops: int = Field(0, ge=0, le=64, description="hops by which the features are diffused once trained, as in APPNP")
    teleport: float = Field(0.1, ge=0, le=1, description="share of a node's own features kept at each of those hops")
    pool: Literal["sum", "mean", "max"] | None = Field(None, description="tu: how a graph is made of its nodes (sum)")
    projector_act: Literal["elu", "prelu", "relu", "bn_relu"] = Field(
        "elu", description="between the layers of the projector; bn_relu: batch norm and ReLU, as for images"
    )

    @model_validator(mode="after")
    def _fits(self) -> GNNConfig:
        if self.jk == "cat" and (self.out_width is not None or self.last_act):
            raise ValueError("encoder.jk=cat takes every layer alike: drop encoder.out_width and encoder.last_act")
        heads = 4
        if self.conv == "gat" and (self.width % heads or (self.out_width or 0) % heads):
            raise ValueError(f"encoder.conv=gat has {heads} attention heads: make encoder.width a multiple of {heads}")
        return self


class GraphEncoder(Encoder):
    r"""PyG's ``GCN``, ``GAT``, ``GraphSAGE`` or ``GIN`` as an encoder: ``Data`` in, features out.

    With ``hops`` K > 0 the features Z are diffused in eval mode, as in `APPNP <https://arxiv.org/abs/1810.05997>`_
    (training through the diffusion loses the gain),

    .. math::
        Z^{(k + 1)} = (1 - t)\, \hat A Z^{(k)} + t Z, \qquad k = 0, \dots, K - 1,

    :math:`\hat A` the symmetrically normalized graph with self-loops, t ``teleport``. It computes in float32 also under
    autocast, since the features of a node with many neighbors are long sums.

    Args:
        in_channels: features of a node.
        config: sizes.
        pool: ``sum``, ``mean`` or ``max`` of the features of the nodes of each graph; ``None`` for those of nodes.

    Shapes:
        ``data.x`` ``(N, in_channels)``, dense or CSR; ``data.edge_index`` ``(2, E)`` without self-loops; ``data.batch``
        ``(N,)`` for several graphs. Out: ``(N, out_dim)``, or only the rows ``data.chosen``, if set; with ``pool``
        ``(G, out_dim)``.
    """

    Config = GNNConfig
    reads = ("nodes", "graphs")
    summary = "PyG's GCN, GAT, GraphSAGE or GIN, by encoder.conv"

    @classmethod
    def build(cls, config: GNNConfig, inputs: Inputs) -> GraphEncoder:
        return cls(inputs.channels, config, inputs.pool)

    def __init__(self, in_channels: int, config: GNNConfig, pool: str | None = None):
        super().__init__()
        self.config, self.pool = config, pool
        out = config.out_width or config.width
        cat = config.jk == "cat"
        self.gnn = _MODELS[config.conv](
            in_channels,
            config.width,
            config.num_layers,
            None if cat else out,
            dropout=config.dropout,
            act=config.act,
            norm=_NORMS[config.norm](config.width),
            jk="cat" if cat else None,
            **({"heads": 4} if config.conv == "gat" else {}),
        )
        if cat:
            self.gnn.lin = nn.Identity()  # concatenated layers, unmixed
        self.last = nn.Sequential()
        if config.last_act:
            norm = _NORMS[config.norm](out)
            self.last = nn.Sequential(*([norm] if norm else []), activation_resolver(config.act))
        self.diffusion = APPNP(config.hops, config.teleport)
        self.out_dim: int = config.num_layers * config.width if cat else out

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the GNN for varying sizes: every view of a graph has its own."""
        self.gnn.compile(*args, **{"dynamic": True, **kwargs})

    def forward(self, data: Data) -> Tensor:
        with torch.autocast(data.x.device.type, enabled=False):
            z = self.features(data)
        if self.pool is not None:
            z = scatter(z, data.batch, dim=0, dim_size=int(data["num_graphs"]), reduce=self.pool)
        return z[data["chosen"]] if "chosen" in data else z

    def features(self, data: Data) -> Tensor:
        """Features of every node, ``(N, out_dim)``."""
        x, edges, n = data.x, data.edge_index, data.x.size(0)
        if self.config.conv in ("sage", "gin") and x.layout != torch.strided:
            x = x.to_dense()  # these two aggregate the inputs themselves
        if self.config.conv != "gat" and self.gnn._compiled_call_impl is None:  # a compiler takes no sparse matrix
            # With the edges as a sparse matrix, rows the targets, a weighted sum is one product without edge messages.
            edges = to_torch_csr_tensor(edges.flip(0), size=(n, n))
        z: Tensor = self.last(self.gnn(x, edges, batch=data.batch))
        if self.config.hops and not self.training:
            z = self.diffusion(z, edges)
        return z
