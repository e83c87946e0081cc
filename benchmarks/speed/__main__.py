"""``python -m benchmarks.speed``: measure, print a table, keep the numbers.

Rows run on the GPU where ``torch.cuda.is_available()``, with the device synchronised around every sample, else on the
CPU (``CUDA_VISIBLE_DEVICES=`` hides the GPU). The rows on CUDA are the same code, but nobody has run them yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed import all_pairs, knn, machine, sparse, step, training, views
from benchmarks.speed.page import columns, notes, number, page
from benchmarks.speed.timing import Row, Settings, measure

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
RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
BUSY = 0.5
WIDTH = 80


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure group by group, write after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, the numbers mean little")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, separated by commas (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"JSON file (a full run: {RESULTS.parent.name}/{RESULTS.name}); other groups in it are kept",
    )
    options = parser.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",")]
    if wrong := [name for name in chosen if name not in GROUPS]:
        parser.error(f"--only {','.join(wrong)}: there are {', '.join(GROUPS)}")
    # A part of the numbers, or quick ones, never change the full ones unless told to.
    full = not options.quick and set(chosen) == set(GROUPS)
    out: Path | None = options.out or (RESULTS if full else None)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gemm = 512 if options.quick else 8192 if device.type == "cuda" else 2048
    rounds, steady, shortest = (5, 0.0, 0.005) if options.quick else (7, 4.0, 0.05)
    settings = Settings(device, options.quick, rounds, steady, shortest, gemm)
    console = Console(width=WIDTH)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine.describe(device),
        "versions": machine.versions(),
        "protocol": {"in_turn": True, "rounds": settings.rounds, "statistic": "median", "gemm": settings.gemm},
        "rows": [],
    }
    others = kept(out, report, chosen)
    console.print(_heading(report), highlight=False, markup=False)
    if (report["machine"]["load"] or 0) > BUSY:
        console.print(
            f"[yellow]The machine is busy (load {report['machine']['load']:.1f}): keep no number of this run."
        )
    for name in GROUPS:
        if name not in chosen:
            continue
        results = []
        with console.status(f"{name} …"):
            for row in GROUPS[name](settings):
                results.append(measure(row, settings))  # noqa: PERF401  (one row's tensors at a time)
        console.print(table(name, results))
        for note in notes(results):
            console.print(f"  {note}", style="dim", highlight=False, markup=False)
        report["rows"] += [{**result, "part": name} for result in results]
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            together = report["rows"] + others
            whole = {**report, "rows": sorted(together, key=lambda row: list(GROUPS).index(row["part"]))}
            out.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            if out.resolve() == RESULTS:
                PAGE.write_text(page(whole), encoding="utf-8")
    where = f"\nwritten to {out}" if out else "\nnothing written: name a file with --out"
    console.print(where, highlight=False, markup=False, soft_wrap=True)


def kept(out: Path | None, report: dict[str, Any], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of other groups in a file of the same machine, versions and protocol: a long run may be made in parts."""
    if out is None or not out.exists():
        return []
    old = json.loads(out.read_text(encoding="utf-8"))

    def same(of: dict[str, Any]) -> Any:
        steady = {key: value for key, value in of["machine"].items() if key != "load"}
        return of["quick"], steady, of["versions"], of["protocol"]

    return [row for row in old["rows"] if row["part"] not in chosen] if same(old) == same(report) else []


def table(group: str, results: Sequence[dict[str, Any]]) -> Table:
    """A group's rows: time, how many times ours and the floor, and what is special to the group."""
    headings, numbers = columns(list(results))
    out = Table(title=f"\n{group}", title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    out.add_column("case", no_wrap=True)
    out.add_column("", no_wrap=True)
    for heading in headings:
        out.add_column(heading, justify="right")
    for result in results:
        for position, entry in enumerate(result["contenders"]):
            case = result["case"] if position == 0 else ""
            out.add_row(case, entry["name"], *map(number, numbers(entry)), style="bold" if position == 0 else "")
    return out


def _heading(report: dict[str, Any]) -> str:
    its, has = report["machine"], report["versions"]
    where = its.get("gpu") or f"{its['processor']}, {its['cores']} cores, {its['threads']} threads"
    return f"{where}; torch {has['torch']}, PyG {has['torch-geometric']}, {report['date']}"


if __name__ == "__main__":
    main()
