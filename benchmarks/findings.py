"""Check in the results of suites: ``python -m benchmarks.findings [runs/SUITE ...]``.

Copies what ``clgnn compare`` wrote to ``benchmarks/results/`` and refreshes the docs pages.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.page import Block
from benchmarks.common.provenance import processor, software
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import difference
from benchmarks.common.table import markdown as table
from cl_as_gnn.compare import compared, interval, markdown
from cl_as_gnn.evaluation.scores import find_score

SUITES = Path(__file__).parent / "suites"
# Rows that are to be compared with another row than the baseline of their suite: with themselves without the idea.
_PAPER = {
    "simclr_attn": "simclr",
    "simclr_4_attn": "simclr_4",
    "simsiam_multi_2": "simsiam",
    "simsiam_multi_3": "simsiam",
    "simsiam_multi_2_released": "simsiam",
    "simsiam_multi_3_released": "simsiam",
}
HOSTS: Mapping[str, Mapping[str, str]] = {"paper_cpu": _PAPER}
PICTURES = {"": "differences to the baseline", "_curves": "accuracy along each curve"}


def collect(folder: Path, results: Path = RESULTS) -> str:
    """Copy the results of a suite's folder under the suite's name; returns the name."""
    name = str(read(folder / "results.json")["suite"])
    results.mkdir(exist_ok=True)
    for source, target in (("results.json", ".json"), ("results.png", ".png"), ("curves.png", "_curves.png")):
        if (folder / source).is_file():
            shutil.copyfile(folder / source, results / f"{name}{target}")
    return name


def verdict(results: Mapping[str, Any], key: str) -> str:
    """List the runs whose interval of the difference to the baseline excludes zero, best first."""
    rows = {row: entry[key] for row, entry in results["rows"].items() if row != results["baseline"] and key in entry}
    ordered = sorted(rows, key=lambda row: -find_score(key).gain(rows[row]["delta"]))
    clear = [row for row in ordered if abs(rows[row]["delta"]) > rows[row]["ci95"]]

    def names(sign: int) -> str:
        found = [f"`{row}` {rows[row]['delta']:+.1f}" for row in clear if sign * rows[row]["delta"] > 0]
        return ", ".join(found) or "none"

    return (
        f"{find_score(key).title}, interval clear of zero: above `{results['baseline']}`: {names(1)}; "
        f"below: {names(-1)}; "
        f"{len(rows) - len(clear)} of {len(rows)} within their intervals."
    )


def against_hosts(results: Mapping[str, Any], hosts: Mapping[str, str]) -> str:
    """A table of the paired differences of rows to their hosts, half of the 95 % interval beside."""
    keys = compared(results)
    lines = []
    for row, host in hosts.items():
        own, other = (results["rows"][name]["seeds"] for name in (row, host))
        both = [seed for seed in own if seed in other]
        gains = [interval([own[seed][key] - other[seed][key] for seed in both]) for key in keys]
        lines.append([f"`{row}` − `{host}`", str(len(both)), *map(difference, gains)])
    return table(["difference", "n", *(find_score(key).title for key in keys)], lines)


def suite_block(name: str, folder: Path = RESULTS) -> str:
    """Table, verdicts, pictures and provenance of a suite."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return f"No results are checked in: run `clgnn compare benchmarks/suites/{name}.yaml`.\n"
    results = read(path)
    lines = [markdown(results)]
    if len(results["seeds"]) > 1:
        lines += [f"- {verdict(results, key)}" for key in compared(results)]
        lines.append("")
    if hosts := HOSTS.get(name):
        lines += ["Paired differences to the same method without the idea:", "", against_hosts(results, hosts)]
    for suffix, text in PICTURES.items():
        if (folder / f"{name}{suffix}.png").is_file():
            lines += [f"![{name}: {text}](../benchmarks/results/{name}{suffix}.png)", ""]
    lines.append(
        f"{results['date']}, {software(results)}, {results['device']} ({processor(results)}; "
        f"cores: {results['machine']['cores']}), {results['precision']}; every number by seed is in "
        f"[benchmarks/results/{name}.json](../benchmarks/results/{name}.json)."
    )
    return "\n".join(lines) + "\n"


def blocks() -> dict[str, Block]:
    """A block of ``docs/results.md`` for every suite."""
    return {path.stem: partial(suite_block, path.stem) for path in sorted(SUITES.glob("*.yaml"))}


def main(arguments: Sequence[str] | None = None) -> None:
    from benchmarks import pages  # it imports this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders that clgnn compare wrote")
    for folder in parser.parse_args(arguments).folders:
        collect(folder)
    pages.main([])


if __name__ == "__main__":
    main()
