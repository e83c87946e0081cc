"""The minibatch as a PyG graph: views as nodes, augmentation and kNN affinity edges, memories, transforms."""

from cl_as_gnn.graph.co_occurrence import co_occurrence_graph
from cl_as_gnn.graph.knn import knn_edges
from cl_as_gnn.graph.memory import FeatureQueue, SampleBank
from cl_as_gnn.graph.transforms.corrupt import DropEdges, DropNodes, MaskFeatures, TwoViews
from cl_as_gnn.graph.transforms.minibatch import NeighborPositives, SampleAffinity, view_agreement
from cl_as_gnn.graph.transforms.positives import FeatureKNN, NearestPositives, SameLabelEdges
from cl_as_gnn.graph.view_graph import view_graph
from cl_as_gnn.nn.edges import augmentation_edges

__all__ = [
    "DropEdges",
    "DropNodes",
    "FeatureKNN",
    "FeatureQueue",
    "MaskFeatures",
    "NearestPositives",
    "NeighborPositives",
    "SameLabelEdges",
    "SampleAffinity",
    "SampleBank",
    "TwoViews",
    "augmentation_edges",
    "co_occurrence_graph",
    "knn_edges",
    "view_agreement",
    "view_graph",
]
