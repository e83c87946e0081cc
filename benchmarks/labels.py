"""Few labels to all, by four rules and two choices of images: ``python -m benchmarks.labels RUN ...``.

``RUN`` are folders of finished runs on labeled images or on one graph, one for each seed of a data set. A few training
images or nodes of each have their labels, and the others are labeled from them. Writes ``results/labels.json``, where
runs of the same data set and seed are replaced.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor
from torch_geometric.nn import CorrectAndSmooth
from torch_geometric.utils import to_torch_csr_tensor, to_undirected

from benchmarks.common.page import Block
from benchmarks.common.provenance import source
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import markdown
from cl_as_gnn.compare import interval
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation.probes import draw_rows, fit_logistic
from cl_as_gnn.evaluation.propagation import affinity_graph, propagate
from cl_as_gnn.graph.knn import search
from cl_as_gnn.labeling import typical
from cl_as_gnn.nn.unit import unit_rows
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import ImageTask, NodeTask, Task, load_task

OUT = RESULTS / "labels.json"
COUNTS, DRAWS = (1, 5, 10), 10
Rule = Callable[[Tensor, Tensor, Tensor, int, Tensor], Tensor]
"""Unit features, their graph, labeled rows, number of classes and labels to scores ``(n, C)`` of all rows."""


def regression(x: Tensor, graph: Tensor, rows: Tensor, count: int, y: Tensor) -> Tensor:
    """Logistic regression on unit features, as in the score of few labels."""
    weight, bias = fit_logistic(x[rows].double(), y[rows], count, 10.0, 1000)
    return F.linear(x.double(), weight, bias).softmax(1).float()


def vote(x: Tensor, graph: Tensor, rows: Tensor, count: int, y: Tensor) -> Tensor:
    """The vote of the nearest labeled rows, weighted as in the kNN score."""
    similarity, index = search(x[rows], x, min(5, len(rows)))
    weight = ((similarity - similarity[:, :1]) / 0.07).exp()
    return x.new_zeros(len(x), count).scatter_add_(1, y[rows][index], weight)


def spread(x: Tensor, graph: Tensor, rows: Tensor, count: int, y: Tensor) -> Tensor:
    """Propagation along the graph, as ``clgnn label`` does it."""
    given = x.new_zeros(len(x), count)
    given[rows] = F.one_hot(y[rows], count).to(x)
    return propagate(graph, given)


def smoothed(x: Tensor, graph: Tensor, rows: Tensor, count: int, y: Tensor) -> Tensor:
    """Correct and smooth (Huang et al., ICLR 2021) over logistic regression, with the settings of PyG's example."""
    rule = CorrectAndSmooth(50, 1.0, 50, 0.8, autoscale=True)
    soft = rule.correct(regression(x, graph, rows, count, y), y[rows], rows, graph)
    out: Tensor = rule.smooth(soft, y[rows], rows, graph)
    return out


RULES: dict[str, Rule] = {
    "logistic regression": regression,
    "nearest labeled": vote,
    "propagation": spread,
    "correct and smooth": smoothed,
}


def accuracy(scores: Tensor, y: Tensor, rows: Tensor) -> float:
    """Percent of the rows without a given label whose class has the largest score."""
    right = scores.argmax(1) == y
    right[rows] = False
    return 100 * float(right.sum()) / (len(y) - len(rows))


def samples(task: Task, path: Path) -> tuple[Tensor, Tensor, Tensor | None]:
    """Unit features, classes and, of nodes, their own graph: every labeled training image, or every node."""
    features = task.features(load_encoder(open_run(path)), torch.device("cpu"))
    if isinstance(task, NodeTask):
        edges, n = to_undirected(task.graph.edge_index), task.size
        return unit_rows(features["nodes"]), task.y, to_torch_csr_tensor(edges, size=(n, n))
    if not isinstance(task, ImageTask):
        raise ConfigError(f"{path} is a run on graphs: give runs on images or on nodes")
    x, y = unit_rows(features["train"]), features["train_labels"]
    known = y >= 0
    return x[known], torch.unique(y[known], return_inverse=True)[1], None


def measure(path: Path) -> dict[str, Any]:
    """Accuracies on a run's training images or nodes, mean over draws, by number of labels per class."""
    start, config = time.process_time(), open_run(path).load_config()
    task = load_task(config, progress=False)
    x, y, own = samples(task, path)
    count, found = int(y.max()) + 1, {}
    graph = affinity_graph(x)
    for per_class in COUNTS:
        draws = draw_rows(y, per_class, DRAWS, 0)
        row = {n: mean(accuracy(rule(x, graph, r, count, y), y, r) for r in draws) for n, rule in RULES.items()}
        if own is not None:
            row |= {
                f"{name}, own graph": mean(accuracy(RULES[name](x, own, r, count, y), y, r) for r in draws)
                for name in ("propagation", "correct and smooth")
            }
        budget = per_class * count
        chosen = {
            "random choice": [
                torch.randperm(len(x), generator=torch.Generator().manual_seed(i))[:budget] for i in range(DRAWS)
            ],
            "selected": [torch.tensor(typical(x, budget, seed=seed).rows) for seed in range(3)],
        }
        for rule in ("propagation", "logistic regression"):
            for name, found_rows in chosen.items():
                row[f"{rule}, {name}"] = mean(accuracy(RULES[rule](x, graph, r, count, y), y, r) for r in found_rows)
        found[str(per_class)] = row
    return {
        "data": task.name if config.data.name != "folder" else Path(str(config.data.root)).name,
        "seed": config.seed,
        "method": config.method.name,
        "epochs": config.trainer.epochs,
        "samples": len(x),
        "unit": "nodes" if own is not None else "training images",
        "classes": count,
        "cpu_seconds": round(time.process_time() - start, 1),
        "accuracy": found,
    }


DIFFERENCES = {
    "propagation": "logistic regression",
    "propagation, selected": "propagation, random choice",
    "logistic regression, selected": "logistic regression, random choice",
}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy by rule, a column for each number of labels; mean ± deviation over seeds, and two differences."""

    def values(name: str, per_class: int) -> list[float]:
        return [row["accuracy"][str(per_class)][name] for row in rows]

    def cell(middle: float, half: float, sign: str = "") -> str:
        return f"{middle:{sign}.1f} ± {half:.1f}" if len(rows) > 1 else f"{middle:{sign}.1f}"

    lines = []
    for name in rows[0]["accuracy"][str(COUNTS[0])]:
        found = [values(name, n) for n in COUNTS]
        lines.append([name, *(cell(mean(f), stdev(f) if len(f) > 1 else 0) for f in found)])
    for name, other in DIFFERENCES.items():
        pairs = [zip(values(name, n), values(other, n), strict=True) for n in COUNTS]
        cells = [cell(*interval([a - b for a, b in pair]), "+") for pair in pairs]
        lines.append([f"{name} − {other.split(', ')[-1]}", *cells])
    return markdown(["", *(f"{n} per class" for n in COUNTS)], lines)


def block(data: str, path: Path = OUT) -> str:
    """Table and provenance of a data set."""
    rows = read(path)["rows"] if path.is_file() else []
    found = sorted((row for row in rows if row["data"] == data), key=lambda row: row["seed"])
    if not found:
        return "No results are checked in: run `python -m benchmarks.labels RUN ...`.\n"
    one = found[0]
    seeds = ", ".join(str(row["seed"]) for row in found)
    about = (
        f"{one['samples']:,} {one['unit']}, {one['classes']} classes, accuracy in % on those without a given label; "
        f"encoders of `{one['method']}`, {one['epochs']} epochs, seeds {seeds}, mean ± deviation over them, "
        f"differences ± half of their 95 % interval; each the mean of {DRAWS} draws of labels, of 3 for selected ones; "
    )
    times = (row.get("cpu_seconds") for row in found)
    return f"{table(found)}\n{about}{source(path, read(path), times, 'a seed took, in processor time,')}"


def blocks() -> dict[str, Block]:
    """The blocks of ``docs/labels.md``."""
    return {f"labels_{data}": partial(block, data) for data in ("digits", "clothing", "cora", "cifar10")}


def keep(path: Path, new: Mapping[str, Any]) -> dict[str, Any]:
    """Write a row to a results file in place of that of the same data set and seed; returns the results."""
    old = read(path)["rows"] if path.is_file() else []
    rows = [row for row in old if (row["data"], row["seed"]) != (new["data"], new["seed"])]
    result = header() | {"rows": [*rows, new]}
    write(path, result, rows="rows")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the runs and write the results after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs on labeled images or nodes")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    options = parser.parse_args(arguments)
    for path in options.runs:
        new = measure(path)
        keep(options.out, new)
        Console().print(f"{path}: {new['data']}, seed {new['seed']}", highlight=False)
        Console().print(table([new]), highlight=False)


if __name__ == "__main__":
    main()
