"""Labels for a folder of images from few of them, by the graph of a trained encoder's features."""

from cl_as_gnn.labeling.doubts import crossed_out, duplicates, outliers
from cl_as_gnn.labeling.embedded import Embedded, embedded
from cl_as_gnn.labeling.label import label_images
from cl_as_gnn.labeling.select import select_images, typical

__all__ = [
    "Embedded",
    "crossed_out",
    "duplicates",
    "embedded",
    "label_images",
    "outliers",
    "select_images",
    "typical",
]
