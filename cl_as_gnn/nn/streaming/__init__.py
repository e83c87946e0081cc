"""Kernels over all pairs of nodes in memory linear in their number: a tile of similarities at a time."""

from cl_as_gnn.nn.streaming.all_pairs import contrast_all_pairs, softmax_all_pairs
from cl_as_gnn.nn.streaming.attention import pairwise_attention
from cl_as_gnn.nn.streaming.bipartite import softmax_bipartite, softmax_over_keys
from cl_as_gnn.nn.streaming.gaussian import gaussian_pairs
from cl_as_gnn.nn.streaming.linear_attention import linear_attention
from cl_as_gnn.nn.streaming.local_rows import softmax_local_rows

__all__ = [
    "contrast_all_pairs",
    "gaussian_pairs",
    "linear_attention",
    "pairwise_attention",
    "softmax_all_pairs",
    "softmax_bipartite",
    "softmax_local_rows",
    "softmax_over_keys",
]
