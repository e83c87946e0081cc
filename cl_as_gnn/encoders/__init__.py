"""Networks: encoders that turn images or graphs into features, and the heads that sit on them during training."""

from cl_as_gnn.encoders.base import Encoder, Inputs
from cl_as_gnn.encoders.gnn import GNNConfig, GraphEncoder
from cl_as_gnn.encoders.heads import mlp_head, plain_head
from cl_as_gnn.encoders.split import SideBySide, build_encoder
from cl_as_gnn.registry import ENCODERS

__all__ = [
    "ENCODERS",
    "Encoder",
    "GNNConfig",
    "GraphEncoder",
    "Inputs",
    "SideBySide",
    "build_encoder",
    "mlp_head",
    "plain_head",
]
