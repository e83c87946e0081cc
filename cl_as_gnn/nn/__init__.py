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
from cl_as_gnn.nn.losses import (
    CLIPLoss,
    NTXentLoss,
    PairNTXentLoss,
    SigLIPLoss,
    SpectralContrastiveLoss,
    SupConLoss,
)
from cl_as_gnn.nn.norm import ContraNorm
from cl_as_gnn.nn.view_losses import BarlowTwinsLoss, DCLLoss, SimSiamLoss, VICRegLoss

__all__ = [
    "AlignmentConv",
    "BarlowTwinsLoss",
    "CLIPLoss",
    "ContraNorm",
    "ContrastiveConv",
    "DCLLoss",
    "HardestPositiveConv",
    "NTXentLoss",
    "PairNTXentLoss",
    "PositiveAttention",
    "SigLIPLoss",
    "SimSiamLoss",
    "SpectralContrastiveLoss",
    "SpectralConv",
    "StageAggregation",
    "SupConLoss",
    "UniformityConv",
    "VICRegLoss",
    "functional",
]
