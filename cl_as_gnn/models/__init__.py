"""Networks: encoders that turn images or graphs into features, and the heads that sit on them during training."""

from cl_as_gnn.models.encoders import build_encoder
from cl_as_gnn.models.gnn import GraphEncoder
from cl_as_gnn.models.heads import mlp_head, plain_head

__all__ = ["GraphEncoder", "build_encoder", "mlp_head", "plain_head"]
