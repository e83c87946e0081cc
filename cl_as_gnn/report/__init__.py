"""What a run looks like: the picture of a minibatch, and one HTML page of all there is to see."""

from cl_as_gnn.report.batch_graph import inspect_batch
from cl_as_gnn.report.draw import draw_graph
from cl_as_gnn.report.page import write_report

__all__ = ["draw_graph", "inspect_batch", "write_report"]
