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
from cl_as_gnn.nn.losses import CLIPLoss, NTXentLoss, SigLIPLoss, SpectralContrastiveLoss, SupConLoss
from cl_as_gnn.nn.norm import ContraNorm

__all__ = [
    "AlignmentConv",
    "CLIPLoss",
    "ContraNorm",
    "ContrastiveConv",
    "HardestPositiveConv",
    "NTXentLoss",
    "PositiveAttention",
    "SigLIPLoss",
    "SpectralContrastiveLoss",
    "SpectralConv",
    "StageAggregation",
    "SupConLoss",
    "UniformityConv",
    "functional",
]
