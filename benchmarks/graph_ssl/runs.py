"""Runs of ``clgnn train`` that the benchmarks on graphs share, kept in a folder and continued where they stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import process_time
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

import cl_as_gnn.methods
from cl_as_gnn.config import RunConfig, build_config, merge, parse_overrides, read_yaml
from cl_as_gnn.methods import Batch
from cl_as_gnn.methods.base import SoftmaxConfig, SoftmaxMethod
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import NodeTask, WholeGraphTask, load_task
from cl_as_gnn.training.fit import continue_run, train

assert cl_as_gnn.methods

CONFIGS = Path(__file__).parents[2] / "configs"


class AutogradConfig(SoftmaxConfig):
    """The settings of ``simclr``."""

    name: Literal["grace_autograd"] = "grace_autograd"


class GRACEByAutograd(SoftmaxMethod[AutogradConfig]):
    """GRACE as its authors write it: an N × N matrix of similarities for each pair of views, and autograd."""

    Config = AutogradConfig
    attracts = "the other view"
    source = "Zhu et al., 2020 (GRACE)"

    def forward(self, batch: Batch) -> tuple[Tensor, HeteroData]:
        data = self.graph(batch)
        with torch.autocast(data["view"].x.device.type, enabled=False):
            first, second = data["view"].x.chunk(2)
            return (self.one_way(first, second) + self.one_way(second, first)).mean() / 2, data

    def one_way(self, a: Tensor, b: Tensor) -> Tensor:
        """Minus the log of the share of the positive among all nodes of both views but the anchor itself."""
        within, across = (torch.exp(a @ other.t() / self.config.temperature) for other in (a, b))
        total = within.sum(1) + across.sum(1) - within.diagonal()
        return -torch.log(across.diagonal() / total)


def configure(data: str, root: Path, words: tuple[str, ...], seed: int, folder: Path) -> RunConfig:
    """The run of a row: ``words`` as on the command line, ``{data}`` in a file's name being the data set.

    ``method.name=grace_autograd`` takes every other setting from ``simclr``.
    """
    files = [word.format(data=data) for word in words if word.endswith(".yaml")]
    given = parse_overrides(
        [f"data.name={data}", f"data.root={root}", f"seed={seed}", *(w for w in words if not w.endswith(".yaml"))]
    )
    for file in files:
        given = merge(read_yaml(CONFIGS / file), given)
    given = merge({"run_dir": str(folder), "eval": {"online_every": 10**6, "graph_every": 0, "draws": 1}}, given)
    if given.get("method", {}).get("name") != "grace_autograd":
        return build_config(given)
    config = build_config(merge(given, {"method": {"name": "simclr"}}))
    tree = config.model_dump(mode="json")
    return build_config({**tree, "method": {**tree["method"], "name": "grace_autograd"}})


def finished(config: RunConfig) -> tuple[dict[str, Any], float]:
    """Numbers of a run, trained now unless it has finished already, and the seconds of processor time it took now."""
    assert config.run_dir is not None
    run, start = RunFolder(config.run_dir), process_time()
    if run.metrics.is_file():
        return run.load_metrics(), 0.0
    metrics = continue_run(run.path, {})[1] if run.checkpoint.is_file() else train(config)
    return metrics, process_time() - start


def task_of(config: RunConfig) -> NodeTask | WholeGraphTask:
    """The data of a run on graphs."""
    task = load_task(config)
    assert isinstance(task, NodeTask | WholeGraphTask)
    return task


def embedding(config: RunConfig, task: NodeTask | WholeGraphTask) -> Tensor:
    """Features of all samples by the trained encoder of a finished run."""
    assert config.run_dir is not None
    return task.embed(load_encoder(RunFolder(config.run_dir)), "cpu")


def settings(config: RunConfig) -> Mapping[str, Any]:
    """What was trained, without folders and seed."""
    return config.model_dump(mode="json", exclude={"run_dir": True, "seed": True, "eval": True, "data": {"root"}})
