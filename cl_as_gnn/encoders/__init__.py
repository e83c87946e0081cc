"""Networks: encoders that turn images or graphs into features, and the heads that sit on them during training."""

from cl_as_gnn.encoders.gnn import GraphEncoder
from cl_as_gnn.encoders.heads import mlp_head, plain_head
from cl_as_gnn.encoders.images import build_encoder

__all__ = ["GraphEncoder", "build_encoder", "mlp_head", "plain_head"]
