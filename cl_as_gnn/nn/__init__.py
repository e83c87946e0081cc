"""Contrastive learning as PyG layers: tensors and ``edge_index`` in, tensors out; no images, no trainer, no config."""

from cl_as_gnn.nn import functional
from cl_as_gnn.nn.conv import AlignmentConv, ContrastiveConv, PositiveAttention, StageAggregation, UniformityConv

__all__ = [
    "AlignmentConv",
    "ContrastiveConv",
    "PositiveAttention",
    "StageAggregation",
    "UniformityConv",
    "functional",
]
