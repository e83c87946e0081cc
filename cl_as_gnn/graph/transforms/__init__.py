"""Transforms that rewire or corrupt a graph: PyG ``BaseTransform``\\ s, each usable alone or in ``Compose``.

Diffusion edges are PyG's own ``torch_geometric.transforms.GDC``.
"""

from cl_as_gnn.graph.transforms.drop_edges import DropEdges
from cl_as_gnn.graph.transforms.drop_nodes import DropNodes
from cl_as_gnn.graph.transforms.feature_knn import FeatureKNN
from cl_as_gnn.graph.transforms.mask_features import MaskFeatures
from cl_as_gnn.graph.transforms.minibatch import NeighbourPositives, SampleAffinity, sample_prototypes, view_agreement
from cl_as_gnn.graph.transforms.nearest_positives import NearestPositives
from cl_as_gnn.graph.transforms.oracle import oracle_edges
from cl_as_gnn.graph.transforms.same_label_edges import SameLabelEdges
from cl_as_gnn.graph.transforms.two_views import TwoViews
from cl_as_gnn.graph.transforms.whole_set import bank_walk, restricted_diffusion

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
