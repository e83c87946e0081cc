from cl_as_gnn.nn.conv.alignment_conv import AlignmentConv
from cl_as_gnn.nn.conv.contrastive_conv import ContrastiveConv
from cl_as_gnn.nn.conv.hardest_positive_conv import HardestPositiveConv
from cl_as_gnn.nn.conv.positive_attention import PositiveAttention
from cl_as_gnn.nn.conv.spectral_conv import SpectralConv
from cl_as_gnn.nn.conv.stage_aggregation import StageAggregation
from cl_as_gnn.nn.conv.uniformity_conv import UniformityConv

__all__ = [
    "AlignmentConv",
    "ContrastiveConv",
    "HardestPositiveConv",
    "PositiveAttention",
    "SpectralConv",
    "StageAggregation",
    "UniformityConv",
]
