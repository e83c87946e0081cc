"""The embeddings of :mod:`.nodes` on fixed random splits of 10 % / 10 % / 80 %.
``python -m benchmarks.graph_ssl splits --root FOLDER``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.page import Block
from benchmarks.common.provenance import sourced
from benchmarks.common.store import RESULTS, Store, grid, read
from benchmarks.common.table import markdown, spread
from benchmarks.graph_ssl.nodes import DATA, ROWS, RUNS, slug
from benchmarks.graph_ssl.options import options_of
from benchmarks.graph_ssl.runs import configure, embedding, finished, task_of
from cl_as_gnn.evaluation import Probe, validated_probe
from cl_as_gnn.tasks import NodeTask, propagated

FOLDER = Path(__file__).parent / "splits"
CHOSEN = ("GRACE", "GRACE, published settings", "NCL", "CCA-SSG", "CCA-SSG, diffused")
UNTRAINED = "untrained encoder"
OUT = RESULTS / "graph_ssl_splits.json"
ABOUT = {
    "protocol": "settings as in graph_ssl_nodes.json, learnt without labels; five fixed random splits of "
    "10 % training, 10 % validation and 80 % test nodes (benchmarks/graph_ssl/splits); logistic regression on unit "
    "features, C chosen on the validation nodes; a seed's number is its mean over the splits",
}


def draw(nodes: int, count: int = 5, share: float = 0.1) -> list[dict[str, list[int]]]:
    """Random splits, the same ones every time: the training and validation nodes of each; all others are test nodes."""
    size = round(share * nodes)
    out = []
    for seed in range(count):
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(seed))
        out.append(
            {"train": order[:size].sort().values.tolist(), "validation": order[size : 2 * size].sort().values.tolist()}
        )
    return out


def masks(name: str, nodes: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The splits kept for a data set, as masks."""
    path = FOLDER / f"{name}.json"
    content = read(path)
    if content["nodes"] != nodes:
        raise ValueError(f"{path} is of a graph of {content['nodes']} nodes, and this one has {nodes}")
    out = []
    for split in content["splits"]:
        train, validation = (torch.zeros(nodes, dtype=torch.bool) for _ in range(2))
        train[split["train"]] = True
        validation[split["validation"]] = True
        out.append((train, validation, ~(train | validation)))
    return out


def keep(name: str, nodes: int) -> Path:
    """Write the splits of a graph, if they are not there yet."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        path.write_text(
            json.dumps({"nodes": nodes, "splits": draw(nodes)}, separators=(",", ":")) + "\n", encoding="utf-8"
        )
    return path


def scores(x: Tensor, y: Tensor, splits: Sequence[tuple[Tensor, Tensor, Tensor]]) -> list[Probe]:
    """The probe on every split."""
    return [validated_probe(x, y, *split) for split in splits]


def run(
    root: Path,
    out: Path = OUT,
    seeds: int = 5,
    rows: Sequence[str] = CHOSEN,
    data: Sequence[str] = DATA,
    extra: tuple[str, ...] = (),
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All that ``out`` does not have yet; runs that :mod:`.nodes` has not trained are trained. As there."""
    report = Store(out, ABOUT)
    for name in data:
        task = task_of(configure(name, root, (*ROWS[rows[0]], *extra), 0, runs / name))
        assert isinstance(task, NodeTask)
        splits = masks(name, task.size)
        if not report.has(data=name, row="AᵏX"):
            start = process_time()
            powers = [scores(power, task.y, splits) for power in propagated(task.graph)]
            best = max(range(len(powers)), key=lambda k: mean(p.validation or 0 for p in powers[k]))
            test = [round(p.test, 3) for p in powers[best]]
            report.add(data=name, row="AᵏX", seed=0, k=best, test=test, cpu_seconds=round(process_time() - start, 1))
        for job in report.pending(grid(data=(name,), seed=range(seeds), row=(UNTRAINED,))):
            start = process_time()
            torch.manual_seed(job["seed"])
            found = scores(task.embed(task.encoder(), "cpu"), task.y, splits)
            report.add(**job, test=[round(p.test, 3) for p in found], cpu_seconds=round(process_time() - start, 1))
        for job in report.pending(grid(data=(name,), seed=range(seeds), row=rows)):
            row, seed = job["row"], job["seed"]
            words = (*ROWS[row], *extra, *([] if row == CHOSEN[0] else ["eval.baselines=false"]))
            config = configure(name, root, words, seed, runs / name / slug(row) / f"seed{seed}")
            start = process_time()
            finished(config)
            found = scores(embedding(config, task), task.y, splits)
            report.add(**job, test=[round(p.test, 3) for p in found], cpu_seconds=round(process_time() - start, 1))
            say(f"{name}, {row}, seed {seed}: {mean(p.test for p in found):.1f}")
    return report.content


def table(content: Mapping[str, Any]) -> str:
    """Test accuracy, mean over splits, mean ± standard deviation over seeds."""
    lines = []
    for row in (*CHOSEN, "AᵏX", UNTRAINED):
        cells = []
        for name in DATA:
            found = [r for r in content["runs"] if r["data"] == name and r["row"] == row]
            floor = f"{mean(found[0]['test']):.1f} (k = {found[0]['k']})" if row == "AᵏX" and found else None
            cells.append(floor or spread([mean(r["test"]) for r in found]))
        lines.append([row if row in CHOSEN else f"floor: {row}", *cells])
    return markdown(["", "Cora", "CiteSeer"], lines)


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"splits": partial(sourced, table, OUT)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = options_of(" splits", __doc__, OUT)
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default: %(default)s)")
    options = parser.parse_args(arguments)
    run(options.root, options.out, options.seeds, runs=options.runs)


if __name__ == "__main__":
    main()
