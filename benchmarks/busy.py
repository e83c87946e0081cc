"""All pairs on a machine that has other work: ``python -m benchmarks.busy``, best alone on it.

The same pass, by threads that share tiles and by the threads of each operator of torch, in turn, beside processes that
count as fast as they can.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import markdown
from cl_as_gnn.nn.streaming import sharing, softmax_all_pairs

OUT = RESULTS / "busy.json"
DIM, SIZES, OTHERS, SECONDS = 128, (4096, 8192), (0, 1, 3), 10.0
_KINDS = {"operators": sys.maxsize, "shared": sharing.BLOCKS_A_THREAD}


@contextmanager
def working(processes: int) -> Iterator[None]:
    """So many processes that count meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(n: int, others: int, least: float) -> dict[str, Any]:
    """Median seconds of a pass over n nodes of either kind, beside so many processes, in turn for ``least`` seconds."""
    x = torch.nn.functional.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(0)), dim=1)
    run = partial(softmax_all_pairs, x, 0.5, unit=True)
    turns: list[dict[str, float]] = []
    run()
    with working(others):
        begin = time.perf_counter()
        while not turns or time.perf_counter() - begin < least:
            turns.append({kind: _seconds(run, blocks) for kind, blocks in _KINDS.items()})
    found = {kind: statistics.median(turn[kind] for turn in turns) for kind in _KINDS}
    ratio = statistics.median(turn["shared"] / turn["operators"] for turn in turns)
    return {"n": n, "others": others, "rounds": len(turns), **found, "ratio": ratio}


def _seconds(run: partial[Any], blocks: int) -> float:
    with mock.patch.object(sharing, "BLOCKS_A_THREAD", blocks):
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin


def block(path: Path = OUT) -> str:
    """Times of both kinds and their ratio, by the number of nodes and of processes beside it."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.busy`.\n"
    results = read(path)
    head = ["nodes", "processes beside", "threads in each operator", "threads share tiles", "ratio", "rounds"]
    lines = []
    for row in results["rows"]:
        seconds = [f"{1e3 * row[kind]:,.0f} ms" for kind in _KINDS]
        lines.append([f"{row['n']:,}", str(row["others"]), *seconds, f"{row['ratio']:.2f}", str(row["rounds"])])
    machine = results["machine"]
    return (
        f"{markdown(head, lines)}\nOne pass over all pairs of {DIM} features in float32, value and messages; medians "
        f"in turn, {results['threads']} threads ({machine['processor']}), torch {results['versions']['torch']}; "
        "[benchmarks/results/busy.json](../benchmarks/results/busy.json).\n"
    )


def blocks() -> dict[str, Block]:
    """The block of ``docs/speed.md``."""
    return {"busy": block}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size for a moment, to see that it runs")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    options = parser.parse_args(arguments)
    sizes, least = (SIZES[:1], 0.0) if options.quick else (SIZES, SECONDS)
    rows = [measure(n, others, least) for n in sizes for others in OTHERS]
    write(options.out, header() | {"threads": torch.get_num_threads(), "rows": rows}, rows="rows")
    Console().print(block(options.out), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
