"""Networks: encoders that turn images into features, and the heads that sit on them during training."""

from cl_as_gnn.models.encoders import build_encoder
from cl_as_gnn.models.heads import mlp_head

__all__ = ["build_encoder", "mlp_head"]
