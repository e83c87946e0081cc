"""What the checks of arguments cost, as a share of a call of each layer and loss: ``python -m benchmarks.checks``.

The checks that a call makes are recorded with their arguments and made again alone, in turn with whole calls, on one
thread. The time is that of the thread, so that it holds on a busy machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import markdown
from cl_as_gnn import nn
from cl_as_gnn.nn import checks
from cl_as_gnn.nn import functional as F

OUT = RESULTS / "checks.json"
DIM, DEGREE, SIZES, ROUNDS = 128, 10, (64, 512), 15
_CHECKS = {name: check for name, check in vars(checks).items() if name.startswith("check_")}
Call = Callable[[Tensor], Tensor]


def calls(edges: Tensor, weight: Tensor, rows: int) -> dict[str, Call]:
    """A call of each layer and loss on features, along the edges, with weights where it takes some."""
    graph, labels, node = torch.arange(rows) % 4, torch.arange(rows) % 8, torch.arange(rows)
    pairs = torch.stack([node, node.roll(rows // 2)])
    weighted: dict[str, Any] = {"edge_index": edges, "edge_weight": weight}
    layers = {name: getattr(nn, name)() for name in _ALONG_EDGES}
    losses = {name: getattr(nn, name)() for name in _OF_VIEWS}
    stages = nn.StageAggregation()
    return {
        "functional.nt_xent": partial(F.nt_xent, **weighted),
        "functional.alignment_loss": partial(F.alignment_loss, **weighted),
        "functional.uniformity_loss": F.uniformity_loss,
        "functional.spectral_contrastive_loss": partial(F.spectral_contrastive_loss, edge_index=pairs),
        **{name: partial(_of_views, loss) for name, loss in losses.items()},
        "SupConLoss": partial(nn.SupConLoss(), labels=labels),
        **{name: partial(layer, **weighted) for name, layer in layers.items() if name in _WEIGHTED},
        **{name: partial(layer, edge_index=edges) for name, layer in layers.items() if name not in _WEIGHTED},
        "StageAggregation": lambda x: stages(torch.stack([x, x])),
        "ContraNorm": partial(nn.ContraNorm(DIM), batch=graph),
    }


_WEIGHTED = ("AlignmentConv", "SpectralConv")
_ALONG_EDGES = (*_WEIGHTED, "ContrastiveConv", "UniformityConv", "HardestPositiveConv", "PositiveAttention")
_OF_VIEWS = ("NTXentLoss", "CLIPLoss", "SigLIPLoss", "BarlowTwinsLoss", "VICRegLoss")


def _of_views(loss: Callable[..., Tensor], x: Tensor) -> Tensor:
    return loss(*x.chunk(2))


@contextmanager
def recorded() -> Iterator[list[Callable[[], object]]]:
    """The checks that are made meanwhile, each to be made again."""
    made: list[Callable[[], object]] = []
    modules = [module for name, module in sys.modules.items() if name.startswith("cl_as_gnn.") and module is not checks]
    found = [(module, name) for module in modules for name in _CHECKS if vars(module).get(name) is _CHECKS[name]]

    def record(check: Callable[..., None], *values: Any, **named: Any) -> None:
        made.append(partial(check, *values, **named))
        check(*values, **named)

    try:
        for module, name in found:
            setattr(module, name, partial(record, _CHECKS[name]))
        yield made
    finally:
        for module, name in found:
            setattr(module, name, _CHECKS[name])


def seconds(run: Callable[[], object], least: float = 2e-3) -> float:
    """Processor time of one call, the mean of as many as take about ``least`` seconds."""
    count, begin = 0, time.thread_time()
    while count == 0 or time.thread_time() - begin < least:
        run()
        count += 1
    return (time.thread_time() - begin) / count


def measure(rows: int, rounds: int = ROUNDS) -> Iterator[dict[str, Any]]:
    """A row for each call: medians of its checks and of a pass, on a graph that is new or not, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, DIM, generator=generator)
    with_gradient = x.clone().requires_grad_()
    edges = torch.randint(rows, (2, DEGREE * rows), generator=generator)
    weight = torch.rand(DEGREE * rows, generator=generator)

    def change() -> None:
        """Another version of the same graph, of which nothing is known."""
        edges.add_(0)
        weight.add_(0)

    for name, call in calls(edges, weight, rows).items():
        with recorded() as made:
            call(x)
        runs: dict[str, Callable[[], object]] = {
            "checks": partial(_all, made),
            "forward": partial(call, x),
            "both": partial(_train, call, with_gradient),
            "change": change,
            "new_checks": partial(_all, [change, *made]),
            "new_forward": partial(_all, [change, partial(call, x)]),
            "new_both": partial(_all, [change, partial(_train, call, with_gradient)]),
        }
        for run in runs.values():
            run()
        turns = [{key: seconds(run) for key, run in runs.items()} for _ in range(rounds)]
        found = {key: statistics.median(turn[key] for turn in turns) for key in runs}
        lost = found.pop("change")
        found |= {key: found[key] - lost for key in ("new_checks", "new_forward", "new_both")}
        yield {"call": name, "rows": rows, "count": len(made), **found}


def _all(runs: Sequence[Callable[[], object]]) -> None:
    for run in runs:
        run()


def _train(call: Call, x: Tensor) -> None:
    out = call(x)
    if out.requires_grad:
        out.sum().backward()


def block(path: Path = OUT) -> str:
    """Time of the checks of each call and its share, forward alone and with the backward pass."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.checks`.\n"
    results = read(path)
    head = ["call", "rows", "checks", "µs", "forward", "with backward", "new graph: µs", "forward", "with backward"]
    lines = []
    for row in results["rows"]:
        cells = [f"`{row['call']}`", f"{row['rows']:,}", str(row["count"])]
        for kind in ("", "new_"):
            part = row[f"{kind}checks"]
            shares = [f"{max(0, 100 * part / row[kind + whole]):.2f}%" for whole in ("forward", "both")]
            cells += [f"{max(0, 1e6 * part):.1f}", *shares]
        lines.append(cells)
    machine, torch_version = results["machine"]["processor"], results["versions"]["torch"]
    return (
        f"{markdown(head, lines)}\nChecks as a share of a call. {DIM} features, {DEGREE} edges at each node; the same "
        f"graph in every call, or a new one. One thread ({machine}, time of the thread, medians of {ROUNDS} rounds in "
        f"turn), torch {torch_version}; [benchmarks/results/checks.json](../benchmarks/results/checks.json).\n"
    )


def blocks() -> dict[str, Block]:
    """The block of ``docs/promises.md``."""
    return {"checks": block}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size and one round, to see that it runs")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sizes, rounds = (SIZES[:1], 1) if options.quick else (SIZES, ROUNDS)
    rows = [row for size in sizes for row in measure(size, rounds)]
    write(options.out, header() | {"rows": rows}, rows="rows")
    Console().print(block(options.out), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
