"""Images and graphs in memory, and random views of them drawn by the batch."""

from cl_as_gnn.data.augment import RECIPES, BatchedViews, channel_stats, normalise
from cl_as_gnn.data.datasets import ImageData, Split, load_images, read_images
from cl_as_gnn.data.graph_views import GraphViews, NodeViews
from cl_as_gnn.data.graphs import GraphSet, NodeData, load_graphs

__all__ = [
    "RECIPES",
    "BatchedViews",
    "GraphSet",
    "GraphViews",
    "ImageData",
    "NodeData",
    "NodeViews",
    "Split",
    "channel_stats",
    "load_graphs",
    "load_images",
    "normalise",
    "read_images",
]
