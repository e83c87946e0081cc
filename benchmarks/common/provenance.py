"""What stands under a table: versions, machine, time of a run, and the file with every number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.store import read


def source(path: Path, content: Mapping[str, Any], seconds: Iterable[float | None] = (), of: str = "a run took") -> str:
    """A line for the docs.

    Args:
        path: results file, in ``benchmarks/results``.
        content: what it holds, with ``versions`` and ``machine``.
        seconds: times of the runs, those that are known.
        of: what the times are of.
    """
    parts = [software(content), processor(content)]
    if known := sorted(time for time in seconds if time):
        low, high = (f"{time:,.0f}" if time >= 10 else f"{time:.2g}" for time in (known[0], known[-1]))
        parts.append(f"{of} {low if low == high else f'{low} to {high}'} seconds")
    return (
        f"{'; '.join(parts)}; every number is in [benchmarks/results/{path.name}](../benchmarks/results/{path.name}).\n"
    )


def software(content: Mapping[str, Any]) -> str:
    """The versions that results depend on."""
    return f"cl_as_gnn {content['versions']['cl-as-gnn']}, torch {content['versions']['torch']}"


def processor(content: Mapping[str, Any]) -> str:
    """The processor, and that its name is not known where results have its architecture alone."""
    name = str(content["machine"]["processor"])
    return f"{name}, the processor's name was not recorded" if name in ("x86_64", "arm64", "aarch64") else name


def sourced(table: Callable[[Mapping[str, Any]], str], path: Path) -> str:
    """A table of a results file of runs, and where it is from."""
    content = read(path)
    seconds = (run.get("cpu_seconds") for run in content["runs"])
    return f"{table(content)}\n{source(path, content, seconds, 'a run took, in processor time,')}"
