"""Contrastive learning as PyG layers: tensors and ``edge_index`` in, tensors out; no images, no trainer, no config."""

from cl_as_gnn.nn import functional
from cl_as_gnn.nn.conv import (
    AlignmentConv,
    ContrastiveConv,
    HardestPositiveConv,
    PositiveAttention,
    SpectralConv,
    StageAggregation,
    UniformityConv,
)
from cl_as_gnn.nn.norm import ContraNorm

__all__ = [
    "AlignmentConv",
    "ContraNorm",
    "ContrastiveConv",
    "HardestPositiveConv",
    "PositiveAttention",
    "SpectralConv",
    "StageAggregation",
    "UniformityConv",
    "functional",
]
