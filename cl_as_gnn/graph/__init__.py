"""The minibatch as a PyG graph: views as nodes, augmentation and kNN affinity edges, banks and rewiring."""

from cl_as_gnn.graph.affinity import knn_edges
from cl_as_gnn.graph.bank import FeatureQueue, SampleBank
from cl_as_gnn.graph.rewiring import NeighbourPositives, SampleAffinity
from cl_as_gnn.graph.view_graph import augmentation_edges, view_graph

__all__ = [
    "FeatureQueue",
    "NeighbourPositives",
    "SampleAffinity",
    "SampleBank",
    "augmentation_edges",
    "knn_edges",
    "view_graph",
]
