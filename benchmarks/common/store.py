"""JSON files of results: written whole or not at all, and continued by a benchmark that was stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import machine

RESULTS = Path(__file__).parents[1] / "results"


def read(path: Path) -> dict[str, Any]:
    """Read a results file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write(path: Path, content: Mapping[str, Any], rows: str | None = None) -> None:
    """Write a results file in one move; a reader never sees half of it.

    Args:
        path: The file. Missing folders are made.
        content: The results.
        rows: The key of a list that is written with one line per entry, after all other keys.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({key: value for key, value in content.items() if key != rows}, indent=1, ensure_ascii=False)
    if rows is not None:
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in content[rows])
        text = f'{text[:-2]},\n "{rows}": [\n{lines}\n ]\n}}'
    part = path.with_suffix(".part")
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)


def header(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Versions of the packages and a description of the machine, without its name."""
    return {"versions": machine.versions(), "machine": machine.describe(torch.device(device))}


class Store:
    """A results file of runs, written after every run. A benchmark that opens it again continues where it stopped.

    Args:
        path: The file.
        about: What holds for all runs, such as the protocol.

    Raises:
        ValueError: The file at ``path`` was made under another protocol.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]):
        self.path = path
        about = json.loads(json.dumps(about))
        if not path.exists():
            self.content: dict[str, Any] = {**about, **header(), "runs": []}
            del self.content["machine"]["load"]
            return
        self.content = read(path)
        for key, value in about.items():
            if self.content.get(key) != value:
                old = self.content.get(key)
                raise ValueError(f"{path} was made with {key}={old}, now it is {value}: name another --out")

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All runs so far."""
        runs: list[dict[str, Any]] = self.content["runs"]
        return runs

    def has(self, **keys: object) -> bool:
        """Whether the file holds a run with these settings."""
        return any(all(run.get(key) == value for key, value in keys.items()) for run in self.runs)

    def pending(self, jobs: Iterable[Mapping[str, Any]], minutes: float | None = None) -> Iterator[dict[str, Any]]:
        """Yield the jobs that the file does not hold yet, and none after the given minutes."""
        begin = time.perf_counter()
        for job in jobs:
            if self.has(**job):
                continue
            if minutes is not None and time.perf_counter() - begin > 60 * minutes:
                return
            yield dict(job)

    def add(self, **run: object) -> None:
        """Add a run and write the file."""
        self.runs.append(run)
        write(self.path, self.content, rows="runs")


def grid(**values: Iterable[object]) -> Iterator[dict[str, Any]]:
    """Yield every combination of the values of each key; the last key changes fastest."""
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))
