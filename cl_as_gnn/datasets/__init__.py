"""Images and graphs, in memory or read by the batch, and random views of them drawn by the batch."""

from cl_as_gnn.datasets.augment import BatchedViews, channel_stats, normalize
from cl_as_gnn.datasets.base import Dataset, ImageDataset, load_images
from cl_as_gnn.datasets.graph_views import GraphViews, NodeViews
from cl_as_gnn.datasets.graphs import GraphSet, NodeData, load_graphs
from cl_as_gnn.datasets.images import ImageData, Split, evenly
from cl_as_gnn.datasets.multi_crop import MultiCrop
from cl_as_gnn.datasets.photos import read_images
from cl_as_gnn.registry import DATASETS

__all__ = [
    "DATASETS",
    "BatchedViews",
    "Dataset",
    "GraphSet",
    "GraphViews",
    "ImageData",
    "ImageDataset",
    "MultiCrop",
    "NodeData",
    "NodeViews",
    "Split",
    "channel_stats",
    "evenly",
    "load_graphs",
    "load_images",
    "normalize",
    "read_images",
]
