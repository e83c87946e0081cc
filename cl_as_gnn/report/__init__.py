"""Pictures of a run: the graph of a minibatch, and one HTML page with scores, curves and settings."""

from cl_as_gnn.report.draw import draw_graph, inspect_batch
from cl_as_gnn.report.page import write_report

__all__ = ["draw_graph", "inspect_batch", "write_report"]
