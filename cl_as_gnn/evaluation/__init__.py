"""Measures of frozen features: tensors in, floats out."""

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
from cl_as_gnn.evaluation.probes import (
    Probe,
    cross_validated_svm,
    few_label_probe,
    knn_accuracy,
    leave_one_out_knn,
    linear_probe,
    span_coordinates,
    validated_probe,
)
from cl_as_gnn.evaluation.regression import regression_error

__all__ = [
    "Probe",
    "alignment",
    "cross_validated_svm",
    "dirichlet_energy",
    "edge_purity",
    "effective_rank",
    "feature_spread",
    "few_label_probe",
    "graph_mismatch",
    "knn_accuracy",
    "leave_one_out_knn",
    "linear_probe",
    "regression_error",
    "shared_information",
    "span_coordinates",
    "uniformity",
    "validated_probe",
    "view_agreement",
]
