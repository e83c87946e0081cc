"""Results that a stopped benchmark goes on from, and the tables made of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks.speed import machine

RESULTS = Path(__file__).parents[1] / "results"


class Report:
    """A JSON file of runs, written after every run; opened again it goes on where it stopped.

    Args:
        path: of the file.
        about: what holds for all runs (protocol, settings). A file that says otherwise is not continued.

    Raises:
        ValueError: if the file at ``path`` was made under another protocol.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]):
        self.path = path
        about = json.loads(json.dumps(about))
        if path.exists():
            self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            old = {key: self.content.get(key) for key in about}
            if old != about:
                key = next(key for key in about if old[key] != about[key])
                raise ValueError(f"{path} was made with {key}={old[key]}, now {about[key]}: name another --out")
        else:
            self.content = about | {"versions": machine.versions(), "machine": _machine(), "runs": []}

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All runs so far."""
        runs: list[dict[str, Any]] = self.content["runs"]
        return runs

    def has(self, **keys: object) -> bool:
        """Whether a run with these settings is there."""
        return any(all(run.get(key) == value for key, value in keys.items()) for run in self.runs)

    def pending(self, jobs: Iterable[Mapping[str, Any]], minutes: float | None = None) -> Iterator[dict[str, Any]]:
        """The settings, one run after another, that are not there yet; none more after so many minutes."""
        begin = time.perf_counter()
        for job in jobs:
            if self.has(**job):
                continue
            if minutes is not None and time.perf_counter() - begin > 60 * minutes:
                return
            yield dict(job)

    def add(self, **run: object) -> None:
        """Keep one more run, in one move."""
        self.runs.append(run)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps({key: value for key, value in self.content.items() if key != "runs"}, indent=1)
        rows = ",\n".join("  " + json.dumps(row) for row in self.runs)
        part = self.path.with_suffix(".part")
        part.write_text(f'{head[:-2]},\n "runs": [\n{rows}\n ]\n}}\n', encoding="utf-8")
        os.replace(part, self.path)


def _machine() -> dict[str, Any]:
    about = machine.describe(torch.device("cpu"))
    about.pop("load")
    return about


def grid(**values: Iterable[object]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of each key, the last key changing fastest."""
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation with one decimal; the mean alone of a single value, marked by its count."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f} (1)"
    few = "" if len(values) >= 5 else f" ({len(values)})"
    return f"{mean(values):.1f} ± {stdev(values):.1f}{few}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its columns after the first aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def put(page: Path, name: str, table: str) -> None:
    """Write a table between the two marks ``<!-- name -->`` of a page."""
    mark = f"<!-- {name} -->\n"
    before, _, after = page.read_text(encoding="utf-8").split(mark)
    page.write_text(before + mark + table + mark + after, encoding="utf-8")
