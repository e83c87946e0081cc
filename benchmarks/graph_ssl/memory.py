"""``python -m benchmarks.graph_ssl.memory``: extra memory and time of GRACE's loss on N nodes, so on 2N features."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common.memory import cost_of
from benchmarks.common.page import Block
from benchmarks.common.provenance import sourced
from benchmarks.common.store import RESULTS, Store
from benchmarks.common.table import markdown
from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import nt_xent

WIDTH, TEMPERATURE = 128, 0.5
NODES = (2_708, 10_000, 20_000, 50_000, 100_000, 200_000)
LIMIT = 60.0  # seconds
SHARE = 0.6  # of the machine's memory: it is not filled to see whether a loss fits
OUT = RESULTS / "graph_ssl_memory.json"
ABOUT = {
    "protocol": (
        "forward and backward of the loss on two views of N nodes, 2N features of width 128, fp32, τ = .5, negatives "
        "from both views; memory: rise of the largest resident set over one call in a fresh process; time: CPU seconds "
        "of that call on one thread, the least of four for N = 2,708; estimates: time by the square of N, memory of "
        "the streamed loss by N and of the others by the square of N"
    )
}


def streamed(z: Tensor) -> Tensor:
    """This package's."""
    return nt_xent(z, augmentation_edges(z.size(0) // 2, 2, z.device), TEMPERATURE)


def dense(z: Tensor) -> Tensor:
    """Cross-entropy on the full matrix, by autograd."""
    z = F.normalize(z, dim=1)
    logits = (z @ z.t() / TEMPERATURE).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(z.size(0)).roll(z.size(0) // 2))


def masked(z: Tensor) -> Tensor:
    """PyGCL's formula: both views as anchors in turn, the other and the own view as samples, two masks N × 2N.

    .. math::
        s_{ij} = \\cos(u_i, y_j) / \\tau, \\qquad
        L = -\\frac1N \\sum_i \\frac{1}{|P_i|}
            \\sum_j P_{ij} \\Big(s_{ij} - \\log \\sum_k (P + M)_{ik} e^{s_{ik}}\\Big).
    """

    def one(anchor: Tensor, other: Tensor) -> Tensor:
        own = torch.eye(anchor.size(0))
        positive = torch.cat([own, torch.zeros_like(own)], dim=1)
        negative = torch.cat([1 - own, 1 - own], dim=1)
        sample = torch.cat([other, anchor])
        logits = F.normalize(anchor) @ F.normalize(sample).t() / TEMPERATURE
        partition = (logits.exp() * (positive + negative)).sum(1, keepdim=True)
        chosen = (logits - partition.log()) * positive
        return -(chosen.sum(1) / positive.sum(1)).mean()

    first, second = z.chunk(2)
    return (one(first, second) + one(second, first)) / 2


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "cl_as_gnn": streamed,
    "dense autograd": dense,
    "PyGCL's formula": masked,
}


def call(name: str, nodes: int) -> Callable[[], object]:
    """The inputs, and one forward and backward as a function."""
    torch.manual_seed(0)
    z = torch.randn(2 * nodes, WIDTH, requires_grad=True)
    z.grad = torch.zeros_like(z)  # the gradient itself belongs to the features and not to the loss
    return lambda: LOSSES[name](z).backward()


def physical() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def run(
    root: Path | None = None,
    out: Path = OUT,
    seeds: int = 1,
    nodes: Sequence[int] = NODES,
    limit: float = LIMIT,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All sizes that ``out`` has not measured; what takes over ``limit`` seconds or most of the memory is estimated.

    Args:
        root: not used: features are random.
        out: JSON file, written after every size.
        seeds: not used: memory and time do not depend on it.
        nodes: sizes, growing.
        limit: seconds.
        say: where a line a size goes.
    """
    del root, seeds
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    report = Store(out, ABOUT | {"memory_of_the_machine": physical()})
    report.runs[:] = [run for run in report.runs if not run["estimate"]]
    before: dict[str, dict[str, Any]] = {}
    for n in nodes:
        for name in LOSSES:
            if not report.has(loss=name, nodes=n):
                report.add(loss=name, nodes=n, **_measure(name, n, before.get(name), limit))
            before[name] = next(r for r in report.runs if (r["loss"], r["nodes"]) == (name, n))
            say(f"{name}, N = {n}: {before[name]}")
    torch.set_num_threads(threads)
    return report.content


def _measure(name: str, nodes: int, before: Mapping[str, Any] | None, limit: float) -> dict[str, Any]:
    if before is not None:
        grows = nodes / before["nodes"]
        seconds = before["seconds"] * grows**2
        streamed = name == "cl_as_gnn"
        # A small size may fit into memory that is there already: what is dense has at least one matrix of all pairs.
        least = 0 if streamed else 4 * (2 * before["nodes"]) ** 2
        extra = max(before["bytes"], least) * grows ** (1 if streamed else 2)
        if seconds > limit or extra > SHARE * physical():
            return {"seconds": round(seconds, 1), "bytes": int(extra), "estimate": True, "fits": extra < physical()}
    found = cost_of(call, (name, nodes), (name, 300), torch.device("cpu"))
    times = [] if found is None else [found.seconds]
    step = call(name, nodes)
    for _ in range(3 if nodes <= 3000 else found is None):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return {
        "seconds": round(min(times), 4),
        "bytes": 0 if found is None else int(found.bytes),
        "estimate": False,
        "fits": True,
    }


def table(content: Mapping[str, Any]) -> str:
    """Memory and time by N, in markdown."""
    rows = []
    for n in sorted({r["nodes"] for r in content["runs"]}):
        cells = []
        for name in LOSSES:
            found = next((r for r in content["runs"] if (r["loss"], r["nodes"]) == (name, n)), None)
            cells += ["–", "–"] if found is None else [_memory(found), _time(found)]
        rows.append([f"{n:,}", *cells])
    return markdown(["N", *(f"{name}, {what}" for name in LOSSES for what in ("extra memory", "time"))], rows)


def _memory(run: Mapping[str, Any]) -> str:
    size = f"{run['bytes'] / 1e9:,.1f} GB" if run["bytes"] >= 1e9 else f"{run['bytes'] / 1e6:,.0f} MB"
    about = "≈ " if run["estimate"] else ""
    return about + size + ("" if run["fits"] else ", does not fit")


def _time(run: Mapping[str, Any]) -> str:
    if not run["fits"]:
        return "–"
    seconds = run["seconds"]
    text = (
        f"{seconds / 60:,.0f} min" if seconds >= 300 else f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.2f} s"
    )
    return ("≈ " if run["estimate"] else "") + text


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"memory": partial(sourced, table, OUT)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graph_ssl.memory", description=__doc__)
    parser.add_argument("--root", type=Path, help="not used; the other benchmarks of graph SSL take it")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds; calls that take longer are estimated")
    options = parser.parse_args(arguments)
    run(options.root, options.out, limit=options.limit)


if __name__ == "__main__":
    main()
