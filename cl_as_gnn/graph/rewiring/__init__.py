"""Transforms that rewire or corrupt a graph: PyG ``BaseTransform``\\ s, each usable alone or in ``Compose``.

Diffusion edges are PyG's own ``torch_geometric.transforms.GDC``.
"""

from cl_as_gnn.graph.rewiring.drop_edges import DropEdges
from cl_as_gnn.graph.rewiring.drop_nodes import DropNodes
from cl_as_gnn.graph.rewiring.feature_knn import FeatureKNN
from cl_as_gnn.graph.rewiring.mask_features import MaskFeatures
from cl_as_gnn.graph.rewiring.minibatch import NeighbourPositives, SampleAffinity, sample_prototypes, view_agreement
from cl_as_gnn.graph.rewiring.nearest_positives import NearestPositives
from cl_as_gnn.graph.rewiring.oracle import oracle_edges
from cl_as_gnn.graph.rewiring.same_label_edges import SameLabelEdges
from cl_as_gnn.graph.rewiring.two_views import TwoViews
from cl_as_gnn.graph.rewiring.whole_set import bank_walk, restricted_diffusion

__all__ = [
    "DropEdges",
    "DropNodes",
    "FeatureKNN",
    "MaskFeatures",
    "NearestPositives",
    "NeighbourPositives",
    "SameLabelEdges",
    "SampleAffinity",
    "TwoViews",
    "bank_walk",
    "oracle_edges",
    "restricted_diffusion",
    "sample_prototypes",
    "view_agreement",
]
