"""The kinds of samples: images, the nodes of a graph, or whole graphs. Each task knows how its numbers are computed."""

from cl_as_gnn.tasks.base import Task
from cl_as_gnn.tasks.graphs import WholeGraphTask
from cl_as_gnn.tasks.images import ImageTask, scored_data
from cl_as_gnn.tasks.load import load_task
from cl_as_gnn.tasks.nodes import NodeTask, propagated

__all__ = ["ImageTask", "NodeTask", "Task", "WholeGraphTask", "load_task", "propagated", "scored_data"]
