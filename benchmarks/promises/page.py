"""The table of ``docs/promises.md``: what is promised, how it is tested, how often it held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import markdown
from benchmarks.promises.checks import CHECKS

OUT = RESULTS / "promises.json"
_HEAD = ("promise", "how it is tested", "held")


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The Markdown table of stored runs; a promise without runs says so."""
    return markdown(_HEAD, _rows(runs), left=3)


def _rows(runs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    kills = [run for run in runs if run["part"] == "kills"]
    yield (
        "A run that is killed at any moment goes on to the same numbers and bytes",
        "SIGKILL or SIGTERM at a random moment; encoder, weights, memories, epochs and scores against the whole run",
        _kills(kills),
    )
    for name, check in CHECKS.items():
        files = ", ".join(f"`{file}`" for file in check.files)
        found = next((run for run in runs if run["part"] == "tests" and run["name"] == name), None)
        yield check.promise, f"{check.how}: {files}", _cases(found)
    suites = [run for run in runs if run["part"] == "suites"]
    trained, held = sum(run["runs"] for run in suites), sum(run["held"] for run in suites)
    text = f"{held} of {len(suites)} suites, {trained} runs" if suites else "not run"
    yield "The suites run", "every run for one epoch, on images of a few pixels, by `clgnn compare`", text


def _kills(kills: Sequence[dict[str, Any]]) -> str:
    if not kills:
        return "not run"
    held, methods = sum(run["held"] for run in kills), {run["method"] for run in kills}
    where = ", ".join(f"{count} {place}" for place, count in sorted(Counter(run["where"] for run in kills).items()))
    return f"{held} of {len(kills)} kills, {len(methods)} method{'s' * (len(methods) > 1)} ({where})"


def _cases(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not run"
    total = found["passed"] + found["failed"]
    text = f"{found['passed']:,} of {total:,} cases" + f", {found['skipped']:,} skipped" * bool(found["skipped"])
    if calls := found.get("calls"):
        told = {
            "compared": "calls agree",
            "gradients": "of them with their gradients",
            "ties": "of them only roughly, where rounding decides between equal logits",
            "overflow": "of them beyond the range of float32",
            "refused": "are refused",
        }
        text += ": " + ", ".join(f"{calls[key]:,} {word}" for key, word in told.items() if key in calls)
    return text


def block(path: Path = OUT) -> str:
    """The table with its versions and its day."""
    if not path.exists():
        return "No results are checked in.\n"
    found = read(path)
    versions = found["versions"]
    about = f"{found['date']}, Python {versions['python']}, torch {versions['torch']}, {found['machine']['system']}"
    return (
        f"{table(found['runs'])}\n{about}; [benchmarks/results/promises.json](../benchmarks/results/promises.json).\n"
    )


def blocks() -> dict[str, Block]:
    """The block of ``docs/promises.md``."""
    return {"promises": block}
