"""Measures of frozen features: tensors in, floats out."""

from cl_as_gnn.evaluation.co_occurrence import (
    connected_within,
    singular_values,
    tcas,
    token_counts,
    two_hop_purity,
)
from cl_as_gnn.evaluation.geometry import (
    alignment,
    dirichlet_energy,
    edge_purity,
    effective_rank,
    feature_spread,
    graph_mismatch,
    shared_information,
    uniformity,
    view_agreement,
)
from cl_as_gnn.evaluation.knn import knn_accuracy, knn_predict, leave_one_out_knn
from cl_as_gnn.evaluation.linear import LinearProbe, linear_probe
from cl_as_gnn.evaluation.probes import (
    Probe,
    cross_validated_svm,
    few_label_probe,
    span_coordinates,
    validated_probe,
)
from cl_as_gnn.evaluation.propagation import affinity_graph, propagate, propagated_accuracy
from cl_as_gnn.evaluation.regression import regression_error
from cl_as_gnn.evaluation.view_weight import view_weight

__all__ = [
    "LinearProbe",
    "Probe",
    "affinity_graph",
    "alignment",
    "connected_within",
    "cross_validated_svm",
    "dirichlet_energy",
    "edge_purity",
    "effective_rank",
    "feature_spread",
    "few_label_probe",
    "graph_mismatch",
    "knn_accuracy",
    "knn_predict",
    "leave_one_out_knn",
    "linear_probe",
    "propagate",
    "propagated_accuracy",
    "regression_error",
    "shared_information",
    "singular_values",
    "span_coordinates",
    "tcas",
    "token_counts",
    "two_hop_purity",
    "uniformity",
    "validated_probe",
    "view_agreement",
    "view_weight",
]
