"""``python -m benchmarks.photos FOLDER --peer PYTHON``: measure and keep the numbers.

``FOLDER`` holds photographs. ``PYTHON`` is that of an environment with ``lightly-train``; without it its rows are left
out. Threads are ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import features
from rich.console import Console
from torch import Tensor

from benchmarks.common.store import header, read, write
from benchmarks.photos import step
from benchmarks.photos.data import Filling, Ours, Plan, Torchvision, in_turn, packed, photographs, repeated
from benchmarks.photos.page import (
    CACHE,
    FILES,
    FILL,
    OUT,
    PEER,
    READ_CACHE,
    READ_FILES,
    STEP,
    STEP_PEER,
    goals,
)

PARTS = ("data", "step")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, link the photographs, measure the parts in turn and write after each."""
    options = _options(arguments)
    console = Console(width=100)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch) / "photographs"
        count = repeated(options.folder, folder, 600 if options.quick else options.entries)
        data = Plan(folder, timed=2, rounds=1, batch=32) if options.quick else Plan(folder)
        whole = (
            Plan(folder, timed=1, rounds=1, batch=8)
            if options.quick
            else Plan(folder, batch=step.BATCH, timed=4, rounds=5)
        )
        report = _report(options, count, data, whole)
        for part in options.only:
            with console.status(f"{part} …"):
                rates, about = (
                    _data(data, Path(scratch)) if part == "data" else _steps(whole, options.peer, options.workers)
                )
            report["rates"][part] = rates
            report["about"] |= about
            for name, samples in rates.items():
                console.print(f"{part:5} {name:28} {median(samples):8.1f} images/s", highlight=False)
            if options.out:
                write(options.out, report)
    for name, least, value in goals(report):
        console.print(f"{name}: {'–' if value is None else f'{value:.2f}'} (goal {least:g})", highlight=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__)
    parser.add_argument("folder", type=Path, help="photographs, at any depth")
    parser.add_argument("--entries", type=int, default=20_000, help="links to them (default: %(default)s)")
    parser.add_argument("--peer", help="Python of an environment with lightly-train")
    parser.add_argument("--workers", default="auto", help="its workers (default: its own choice)")
    parser.add_argument("--scratch", type=Path, help="folder with room for the pixels, 220 kB an entry")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a test run, its numbers mean little")
    parser.add_argument("--out", type=Path, help=f"JSON file (a full run: {OUT.parent.name}/{OUT.name})")
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",")]
    if wrong := [name for name in options.only if name not in PARTS]:
        parser.error(f"--only {','.join(wrong)}: the parts are {', '.join(PARTS)}")
    if not options.quick and set(options.only) == set(PARTS):
        options.out = options.out or OUT
    return options


def _report(options: argparse.Namespace, count: int, data: Plan, whole: Plan) -> dict[str, Any]:
    """The head of the results; of a file of the same protocol, the parts that are not measured now."""
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **header("cpu"),
        "protocol": {
            "photographs": count,
            "entries": options.entries,
            "side": data.side,
            "data_rounds": data.rounds,
            "data_batches": data.timed,
            "data_batch": data.batch,
            "step_rounds": whole.rounds,
            "step_batches": whole.timed,
            "step_batch": whole.batch,
            "decoder": f"Pillow's, libjpeg-turbo {features.version('jpg')}, at 1/2 scale where that suffices",
        },
        "rates": {},
        "about": {},
    }
    if options.out and options.out.exists():
        old = read(options.out)
        if old["protocol"] == report["protocol"]:
            report["rates"] = {key: rates for key, rates in old["rates"].items() if key not in options.only}
            report["about"] = old["about"]
    return report


def _data(plan: Plan, scratch: Path) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Photographs a second by contender; one thread draws the views, as in each of torchvision's workers."""
    store = photographs(plan)
    threads = torch.get_num_threads()
    kept = packed(plan, store, scratch / "kept")
    for rows in kept.missing.split(512):
        kept.decode(rows)
    contenders: dict[str, Callable[[Tensor], float]] = {
        FILES: Ours(plan, store),
        PEER: Torchvision(plan),
        FILL: Filling(plan, packed(plan, photographs(plan), scratch / "filling")),
        CACHE: Ours(plan, kept, threads=threads),
        READ_FILES: Ours(plan, store, views=False),
        READ_CACHE: Ours(plan, kept, views=False),
    }
    rates = in_turn(plan, contenders, len(store))
    torch.set_num_threads(threads)
    about = {
        FILES: "two threads decode while one draws views; from the cache, two draw views",
        PEER: "torchvision's transforms of the same recipe on Pillow images, one thread a worker",
    }
    return rates, about


def _steps(plan: Plan, peer: str | None, workers: str) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Photographs a second of whole steps, the median of each round."""
    ours = step.Ours(plan)
    contenders: dict[str, Callable[[], list[float]]] = {STEP: ours}
    other = step.LightlyTrain(plan, peer, workers) if peer else None
    if other is not None:
        contenders[STEP_PEER] = other
    rounds = step.in_turn(contenders, plan.rounds)
    rates = {name: [plan.batch / median(steps) for steps in samples] for name, samples in rounds.items()}
    about = {
        f"{STEP}, step": f"{step.MODEL}, head 2048–128, {ours.about['precision']}, {ours.about['threads']} threads"
    }
    if other is not None:
        of, versions = other.about, other.about["versions"]
        about[f"{STEP_PEER}, step"] = (
            f"lightly-train {versions['lightly-train']} on torch {versions['torch']}, the same model, head, method, "
            f"size, batch and recipe, {of['precision']}, {of['threads']} threads, workers: {of['workers']}"
        )
    return rates, about


if __name__ == "__main__":
    main()
