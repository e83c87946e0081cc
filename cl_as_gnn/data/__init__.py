"""Images in memory, and random views of them drawn by the batch."""

from cl_as_gnn.data.augment import RECIPES, BatchedViews, channel_stats, normalise
from cl_as_gnn.data.datasets import ImageData, Split, load_images

__all__ = ["RECIPES", "BatchedViews", "ImageData", "Split", "channel_stats", "load_images", "normalise"]
