"""Whole graphs: GraphCL on MUTAG and PROTEINS beside an encoder that was never trained.
``python -m benchmarks.graph_ssl graphs --root FOLDER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from benchmarks.common.page import Block
from benchmarks.common.provenance import sourced
from benchmarks.common.store import RESULTS, Store, grid
from benchmarks.common.table import markdown, spread
from benchmarks.graph_ssl.nodes import RUNS
from benchmarks.graph_ssl.options import options_of
from benchmarks.graph_ssl.runs import configure, embedding, finished, settings, task_of
from cl_as_gnn.evaluation import cross_validated_svm
from cl_as_gnn.tasks import WholeGraphTask, propagated

DATA = ("MUTAG", "PROTEINS")
TRAINED, UNTRAINED = "GraphCL (simclr on graph views)", "floor: untrained GIN"
AVERAGED = "floor: A²X, summed over nodes"
ROWS = (TRAINED, AVERAGED, UNTRAINED)
PUBLISHED: dict[str, tuple[float | None, float | None]] = {
    "GraphCL": (86.80, 74.39),
    "InfoGraph": (89.01, 74.44),
    "GraphMAE (generative)": (88.19, 75.30),
}
OUT = RESULTS / "graph_ssl_graphs.json"
ABOUT = {
    "protocol": "frozen GIN in eval mode, sum over the nodes of a graph; SVM with RBF kernel, 10-fold "
    "cross-validation, C chosen by 5-fold cross-validation inside the training folds; the folds are drawn anew for "
    "each seed; the last epoch counts",
    "selection": "none: one setting for both data sets, chosen beforehand",
    "published": "as in the papers; released code of this protocol reports the best epoch on the test folds, which "
    "this benchmark does not",
}


def run(
    root: Path,
    out: Path = OUT,
    seeds: int = 5,
    data: Sequence[str] = DATA,
    extra: tuple[str, ...] = (),
    runs: Path = RUNS,
    minutes: float | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All that ``out`` does not have yet; as in :mod:`.nodes`."""
    report = Store(out, ABOUT)
    for job in report.pending(grid(data=data, seed=range(seeds), row=ROWS), minutes):
        name, row, seed = job["data"], job["row"], job["seed"]
        words = (f"data.dataset={name}", "method.name=simclr", "eval.baselines=false", *extra)
        config = configure("tu", root, words, seed, runs / name.lower() / "graphcl" / f"seed{seed}")
        task = task_of(config)
        assert isinstance(task, WholeGraphTask)
        more: dict[str, Any] = {}
        if row == TRAINED:
            metrics, seconds = finished(config)
            more = {"loss": metrics["loss"], "cpu_seconds": round(seconds, 1), "settings": settings(config)}
            x = embedding(config, task)
        elif row == UNTRAINED:
            torch.manual_seed(seed)
            x = task.embed(task.encoder(), "cpu")
        else:
            x = averaged(task)
        accuracy, folds = cross_validated_svm(x, task.y, seed=seed)
        report.add(**job, accuracy=accuracy, fold_std=folds, **more)
        say(f"{name}, {row}, seed {seed}: {accuracy:.1f}")
    return report.content


def averaged(task: WholeGraphTask) -> Tensor:
    """Two hops of averaging without weights, summed over the nodes of each graph."""
    power = propagated(task.graph)[2]
    out: Tensor = scatter(power, task.graph.batch, dim=0, dim_size=task.size, reduce="sum")
    return out


def table(content: Mapping[str, Any]) -> str:
    """Accuracy, mean ± standard deviation over the seeds."""
    lines = []
    for row in ROWS:
        found = [[r["accuracy"] for r in content["runs"] if r["data"] == name and r["row"] == row] for name in DATA]
        lines.append([row, *map(spread, found)])
    cells = [["–" if v is None else f"{v:.1f}" for v in values] for values in PUBLISHED.values()]
    lines += [[f"published: {name}", *values] for name, values in zip(PUBLISHED, cells, strict=True)]
    return markdown(["", *DATA], lines)


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"graphs": partial(sourced, table, OUT)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = options_of(" graphs", __doc__, OUT, root="folder of TUDatasets, with MUTAG/raw in it")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no run after so many")
    options = parser.parse_args(arguments)
    run(options.root, options.out, options.seeds, runs=options.runs, minutes=options.minutes)


if __name__ == "__main__":
    main()
