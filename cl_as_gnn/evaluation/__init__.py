"""Measures of frozen embeddings: tensors in, floats out."""

from cl_as_gnn.evaluation.geometry import (
    alignment,
    dirichlet_energy,
    edge_purity,
    effective_rank,
    graph_mismatch,
    uniformity,
)
from cl_as_gnn.evaluation.knn import knn_accuracy, leave_one_out_knn
from cl_as_gnn.evaluation.linear import few_label_probe, linear_probe

__all__ = [
    "alignment",
    "dirichlet_energy",
    "edge_purity",
    "effective_rank",
    "few_label_probe",
    "graph_mismatch",
    "knn_accuracy",
    "leave_one_out_knn",
    "linear_probe",
    "uniformity",
]
