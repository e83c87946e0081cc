"""Try what the package promises and count how often it holds, for hours: ``python -m benchmarks.promises``.

Writes its results after every job and goes on where it was stopped; ``--new`` begins anew. Exits with 1 if a promise
did not hold.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the runs that are compared have one thread

from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.promises import checks, kills
from benchmarks.promises.page import OUT, table

PARTS = ("kills", "tests", "suites")
_NAMES = {"tests": list(checks.CHECKS), "suites": checks.suites()}
_SMOKE = {"kills": ["simclr", "byol"], "tests": ["older", "misuse"], "suites": ["paper_smoke"]}


def jobs(only: Sequence[str], count: int, smoke: bool) -> Iterator[dict[str, Any]]:
    """The jobs of each part, or of names in a part, each as the keys that its result has in the file."""
    if "kills" in only:
        names = _SMOKE["kills"] if smoke else kills.methods()
        for index in range(min(count, len(names)) if smoke else count):
            yield {"part": "kills", "index": index, "method": names[index % len(names)]}
    for part, every in _NAMES.items():
        for name in _SMOKE[part] if smoke else every:
            if part in only or name in only:
                yield {"part": part, "name": name}


def do(job: dict[str, Any], examples: int, place: Path) -> dict[str, Any]:
    """The result of a job; ``place`` keeps the runs and what is printed."""
    if job["part"] == "kills":
        kills.write_images(place / "data")
        try:
            return kills.killed(job["method"], job["index"], place)
        except RuntimeError as error:
            return {"held": False, "where": "failed", "differs": str(error)}
    if job["part"] == "suites":
        return checks.miniature(job["name"], place)
    found = checks.run_tests(job["name"], examples, place)
    return {"held": found["failed"] == 0, **found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the results lack, print the table, and exit with 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promises", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="kills, tests, suites, or some of them by name")
    parser.add_argument("--kills", type=int, default=200, help="runs to kill, over all methods in turn")
    parser.add_argument("--fuzz", type=int, default=10_000, help="calls of the fuzz")
    parser.add_argument("--minutes", type=float, help="begin no further job after as many")
    parser.add_argument("--smoke", action="store_true", help="two jobs of each part at most, in about a minute")
    parser.add_argument("--new", action="store_true", help="remove the results and begin anew")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the runs; default: a temporary one")
    options = parser.parse_args(arguments)
    only = options.only.split(",")
    if unknown := sorted(set(only) - {*PARTS, *_NAMES["tests"], *_NAMES["suites"]}):
        parser.error(f"--only {unknown[0]}: name {', '.join((*PARTS, *_NAMES['tests']))} or a suite")
    if options.new:
        options.out.unlink(missing_ok=True)
    store, console = Store(options.out, {"fuzz": options.fuzz}), Console()
    store.content["date"] = time.strftime("%Y-%m-%d")
    with TemporaryDirectory(prefix="clgnn-") as temporary:
        place = (options.scratch or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        for job in store.pending(jobs(only, options.kills, options.smoke), options.minutes):
            begin = time.monotonic()
            found = do(job, options.fuzz, place)
            store.add(**job, **found, seconds=round(time.monotonic() - begin))
            named = " ".join(map(str, job.values()))
            console.print(f"{named}: {'held' if found['held'] else f'did not hold {found}'}", soft_wrap=True)
    console.print(table(store.runs), soft_wrap=True, markup=False, highlight=False)
    if not all(run["held"] for run in store.runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
