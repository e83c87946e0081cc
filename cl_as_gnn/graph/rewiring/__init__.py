"""Transforms that rewire or corrupt a graph: PyG ``BaseTransform``\\ s, each usable alone or in ``Compose``.

Diffusion edges are PyG's own ``torch_geometric.transforms.GDC``.
"""

from cl_as_gnn.graph.rewiring.drop_edges import DropEdges
from cl_as_gnn.graph.rewiring.drop_nodes import DropNodes
from cl_as_gnn.graph.rewiring.feature_knn import FeatureKNN
from cl_as_gnn.graph.rewiring.mask_features import MaskFeatures
from cl_as_gnn.graph.rewiring.minibatch import NeighbourPositives, SampleAffinity, sample_prototypes
from cl_as_gnn.graph.rewiring.same_label_edges import SameLabelEdges
from cl_as_gnn.graph.rewiring.two_views import TwoViews

__all__ = [
    "DropEdges",
    "DropNodes",
    "FeatureKNN",
    "MaskFeatures",
    "NeighbourPositives",
    "SameLabelEdges",
    "SampleAffinity",
    "TwoViews",
    "sample_prototypes",
]
