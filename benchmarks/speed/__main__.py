"""``python -m benchmarks.speed``: measure, print a table, keep the numbers.

Rows run on the GPU where ``torch.cuda.is_available()``, with the device synchronised around every sample, else on the
CPU (``CUDA_VISIBLE_DEVICES=`` hides the GPU). The rows on CUDA are the same code, but nobody has run them yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed import all_pairs, knn, machine, sparse, step, views
from benchmarks.speed.timing import Settings, measure

# `step` sets the allocator for the rest of the process, and so comes last.
GROUPS = {"all_pairs": all_pairs, "sparse": sparse, "knn": knn, "views": views, "step": step}
RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
BUSY = 0.5
WIDTH = 80


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure group by group, write after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, the numbers mean little")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, separated by commas (default: %(default)s)")
    parser.add_argument("--out", type=Path, help=f"JSON file (a full run: {RESULTS.parent.name}/{RESULTS.name})")
    options = parser.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",")]
    if wrong := [name for name in chosen if name not in GROUPS]:
        parser.error(f"--only {','.join(wrong)}: there are {', '.join(GROUPS)}")
    # A part of the numbers, or quick ones, never replace the full ones by default.
    full = not options.quick and set(chosen) == set(GROUPS)
    out: Path | None = options.out or (RESULTS if full else None)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gemm = 512 if options.quick else 8192 if device.type == "cuda" else 2048
    settings = Settings(device, options.quick, 5 if options.quick else 7, 0.005 if options.quick else 0.05, gemm)
    console = Console(width=WIDTH)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine.describe(device),
        "versions": machine.versions(),
        "protocol": {"in_turn": True, "rounds": settings.rounds, "statistic": "median", "gemm": settings.gemm},
        "rows": [],
    }
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
            for row in GROUPS[name].rows(settings):
                results.append(measure(row, settings))  # noqa: PERF401  (one row's tensors at a time)
        console.print(table(name, results))
        for note in dict.fromkeys(note for result in results for note in result["notes"]):
            console.print(f"  {note}", style="dim", highlight=False, markup=False)
        report["rows"] += results
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    where = f"\nwritten to {out}" if out else "\nnothing written: name a file with --out"
    console.print(where, highlight=False, markup=False, soft_wrap=True)


def table(group: str, results: Sequence[dict[str, Any]]) -> Table:
    """A group's rows: time, how many times ours and the floor, and what is special to the group."""
    extras = list(dict.fromkeys(key for r in results for c in r["contenders"] for key in c["extra"]))
    items = any("items_per_s" in c for r in results for c in r["contenders"])
    out = Table(title=f"\n{group}", title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    out.add_column("case", no_wrap=True)
    out.add_column("", no_wrap=True)
    for heading in ("ms", "× ours", "× floor", *(["images/s"] if items else []), *extras):
        out.add_column(heading, justify="right")
    for result in results:
        for position, entry in enumerate(result["contenders"]):
            cells = [1e3 * entry["median_s"], entry["times_ours"], entry.get("times_floor")]
            cells += [entry.get("items_per_s")] if items else []
            cells += [entry["extra"].get(key) for key in extras]
            case = result["case"] if position == 0 else ""
            out.add_row(case, entry["name"], *map(_number, cells), style="bold" if position == 0 else "")
    return out


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.0e}"


def _heading(report: dict[str, Any]) -> str:
    its, has = report["machine"], report["versions"]
    where = its.get("gpu") or f"{its['processor']}, {its['cores']} cores, {its['threads']} threads"
    return f"{where}; torch {has['torch']}, PyG {has['torch-geometric']}, {report['date']}"


if __name__ == "__main__":
    main()
