"""``python -m benchmarks.speed``: measure, print a table, keep the numbers.

Rows run on the GPU where ``torch.cuda.is_available()``, with the device synchronized around every sample, else on the
CPU (``CUDA_VISIBLE_DEVICES=`` hides the GPU). The rows on CUDA are the same code, but nobody has run them yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.common.store import header, read, write
from benchmarks.common.table import terminal
from benchmarks.common.timing import Row, Settings, measure
from benchmarks.speed import all_pairs, knn, sparse, step, training, views
from benchmarks.speed.page import OUT, cells, notes, where

# `step` and what follows set the allocator for the rest of the process, and so come last.
GROUPS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    "all_pairs": all_pairs.rows,
    "all_pairs_bf16": partial(all_pairs.rows, bf16=True),
    "all_pairs_large": all_pairs.large,
    "memory": all_pairs.peaks,
    "sparse": sparse.rows,
    "knn": knn.rows,
    "views": views.rows,
    "step": step.rows,
    "train_small": partial(training.rows, encoder="small"),
    "train_resnet18": partial(training.rows, encoder="resnet18"),
}
BUSY = 0.5
WIDTH = 80


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure group by group, write after each."""
    options = _options(arguments)
    console = Console(width=WIDTH)
    settings = _settings(options.quick)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        **header(settings.device),
        "protocol": {"in_turn": True, "rounds": settings.rounds, "statistic": "median", "gemm": settings.gemm},
        "rows": [],
    }
    others = kept(options.out, report, options.only)
    has = report["versions"]
    heading = f"{where(report)}; torch {has['torch']}, PyG {has['torch-geometric']}, {report['date']}"
    console.print(heading, highlight=False, markup=False)
    if (report["machine"]["load"] or 0) > BUSY:
        console.print(f"[yellow]The machine is busy (load {report['machine']['load']:.1f}): discard these numbers.")
    for name in GROUPS:
        if name not in options.only:
            continue
        results = []
        with console.status(f"{name} …"):
            for row in GROUPS[name](settings):
                results.append(measure(row, settings))  # noqa: PERF401  (one row's tensors at a time)
        head, lines = cells(results)
        ours = {index for index, line in enumerate(lines) if line[0]}
        console.print(terminal(f"\n{name}", head, lines, left=2, bold=ours))
        for note in notes(results):
            console.print(f"  {note}", style="dim", highlight=False, markup=False)
        report["rows"] += [{**result, "part": name} for result in results]
        if options.out:
            together = sorted([*report["rows"], *others], key=lambda row: list(GROUPS).index(row["part"]))
            write(options.out, {**report, "rows": together})
    written = f"\nwritten to {options.out}" if options.out else "\nnothing written: name a file with --out"
    console.print(written, highlight=False, markup=False, soft_wrap=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: a test run, its numbers mean little")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, separated by commas (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, help=f"JSON file (a full run: {OUT.parent.name}/{OUT.name}); other groups in it are kept"
    )
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",")]
    if wrong := [name for name in options.only if name not in GROUPS]:
        parser.error(f"--only {','.join(wrong)}: the groups are {', '.join(GROUPS)}")
    # A partial or a quick run changes the checked-in numbers only where --out names them.
    if not options.quick and set(options.only) == set(GROUPS):
        options.out = options.out or OUT
    return options


def _settings(quick: bool) -> Settings:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gemm = 512 if quick else 8192 if device.type == "cuda" else 2048
    rounds, steady, shortest = (5, 0.0, 0.005) if quick else (7, 4.0, 0.05)
    return Settings(device, quick, rounds, steady, shortest, gemm)


def kept(out: Path | None, report: dict[str, Any], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of other groups in a file of the same machine, versions and protocol: a long run may be made in parts."""
    if out is None or not out.exists():
        return []
    old = read(out)

    def same(of: dict[str, Any]) -> Any:
        steady = {key: value for key, value in of["machine"].items() if key != "load"}
        return of["quick"], steady, of["versions"], of["protocol"]

    return [row for row in old["rows"] if row["part"] not in chosen] if same(old) == same(report) else []


if __name__ == "__main__":
    main()
