"""The kinds of samples: images, the nodes of a graph, or whole graphs. Each task knows how its numbers are computed."""

from __future__ import annotations

from cl_as_gnn.config import GraphDataConfig, RunConfig
from cl_as_gnn.datasets import DATASETS, NodeData, load_graphs
from cl_as_gnn.datasets.factors import FactorData
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS
from cl_as_gnn.tasks.base import Task
from cl_as_gnn.tasks.factors import FactorTask
from cl_as_gnn.tasks.graphs import WholeGraphTask
from cl_as_gnn.tasks.image_data import probed_data, scored_data, transfer_data
from cl_as_gnn.tasks.images import ImageTask
from cl_as_gnn.tasks.nodes import NodeTask, propagated

__all__ = ["ImageTask", "NodeTask", "Task", "WholeGraphTask", "load_task", "propagated", "scored_data"]


def load_task(config: RunConfig, progress: bool = True) -> Task:
    """Read the data of a run; ConfigError if it cannot be read, or the method cannot learn from it."""
    task: Task
    if isinstance(config.data, GraphDataConfig):
        graphs = load_graphs(config.data)
        task = NodeTask(config, graphs) if isinstance(graphs, NodeData) else WholeGraphTask(config, graphs)
    else:
        images = scored_data(config, progress)
        if isinstance(images, FactorData):
            task = FactorTask(config, images, transfer_data(config, images, progress))
        else:
            others = (read(config, images, progress) for read in (probed_data, transfer_data))
            task = ImageTask(config, images, *others)
        if config.eval.shifts and task.scored is None:
            raise ConfigError(
                f"eval.shifts=[{', '.join(config.eval.shifts)}] expects labels, and the images have none to score on: "
                "drop it, or name labeled images with eval.root=FOLDER"
            )
    reads = METHODS[config.method.name].reads
    if task.kind not in reads:
        names = ", ".join(name for name, data in DATASETS.items() if data.holds in reads)
        raise ConfigError(
            f"method.name={config.method.name} learns from {' or '.join(reads)}, and data.name={config.data.name} has "
            f"{task.kind}: use data.name={names}, or another method"
        )
    if METHODS[config.method.name].reads_labels and task.labels is None:
        raise ConfigError(
            f"method.name={config.method.name} reads labels, and training on data.name={config.data.name} has none: "
            "choose a method without, such as gcn" + ", or lay out the images as <class>/*" * (task.kind == "images")
        )
    return task
