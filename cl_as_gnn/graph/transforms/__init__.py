"""Transforms that rewire or corrupt a graph: PyG ``BaseTransform``\\ s, each usable alone or in ``Compose``.

Diffusion edges are PyG's own ``torch_geometric.transforms.GDC``.
"""

from cl_as_gnn.graph.transforms.corrupt import DropEdges, DropNodes, MaskFeatures, TwoViews
from cl_as_gnn.graph.transforms.minibatch import (
    NeighborPositives,
    SampleAffinity,
    oracle_edges,
    sample_prototypes,
    view_agreement,
)
from cl_as_gnn.graph.transforms.positives import FeatureKNN, NearestPositives, SameLabelEdges
from cl_as_gnn.graph.transforms.whole_set import bank_walk, restricted_diffusion

__all__ = [
    "DropEdges",
    "DropNodes",
    "FeatureKNN",
    "MaskFeatures",
    "NearestPositives",
    "NeighborPositives",
    "SameLabelEdges",
    "SampleAffinity",
    "TwoViews",
    "bank_walk",
    "oracle_edges",
    "restricted_diffusion",
    "sample_prototypes",
    "view_agreement",
]
