"""Refresh the tables of docs/findings.md from the results: ``python -m benchmarks.findings [runs/SUITE ...]``.

Folders that ``clgnn compare`` wrote are first copied to ``benchmarks/results/``. What stands between the markers of the
page is replaced; the prose around them is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_as_gnn.compare import compared, markdown
from cl_as_gnn.evaluation.scores import find_score

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "findings.md"
MARKED = re.compile(r"(<!-- (suite|cost): (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
PICTURES = {"": "differences to the baseline", "_curves": "accuracy against the purity of the graph"}


def collect(folder: Path) -> str:
    """Copy the results of a suite's folder under the suite's name; returns the name."""
    name = str(json.loads((folder / "results.json").read_text(encoding="utf-8"))["suite"])
    RESULTS.mkdir(exist_ok=True)
    for source, target in (("results.json", ".json"), ("results.png", ".png"), ("curves.png", "_curves.png")):
        if (folder / source).is_file():
            shutil.copyfile(folder / source, RESULTS / f"{name}{target}")
    return name


def verdict(results: Mapping[str, Any], key: str) -> str:
    """Which runs differ from the baseline with an interval clear of zero, best first."""
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


def suite_block(name: str) -> str:
    """Table, verdicts, pictures and provenance of a suite."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return f"No results are checked in: run `clgnn compare benchmarks/suites/{name}.yaml`.\n"
    results = json.loads(path.read_text(encoding="utf-8"))
    lines = [markdown(results)]
    if len(results["seeds"]) > 1:
        lines += [f"- {verdict(results, key)}" for key in compared(results)]
        lines.append("")
    for suffix, text in PICTURES.items():
        if (RESULTS / f"{name}{suffix}.png").is_file():
            lines += [f"![{name}: {text}](../benchmarks/results/{name}{suffix}.png)", ""]
    machine, versions = results["machine"], results["versions"]
    lines.append(
        f"{results['date']}, torch {versions['torch']}, {results['device']} (cores: {machine['cores']}), "
        f"{results['precision']}; every number by seed is in "
        f"[benchmarks/results/{name}.json](../benchmarks/results/{name}.json)."
    )
    return "\n".join(lines) + "\n"


def cost_block(name: str) -> str:
    """What a step of each method costs."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.cost`.\n"
    report = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| method | views | ms a step | × `simclr` | × `simclr`, a view |", "|---|---|---|---|---|"]
    for method, row in sorted(report["methods"].items(), key=lambda item: float(item[1]["step_ratio"])):
        lines.append(
            f"| `{method}` | {row['views']} | {1e3 * row['median_s']:.1f} | {row['step_ratio']:.2f} | "
            f"{row['view_ratio']:.2f} |"
        )
    return "\n".join([*lines, "", f"{report['protocol']}.", ""])


def refreshed(page: str) -> str:
    """The page with the text between its markers made anew from the results."""
    blocks = {"suite": suite_block, "cost": cost_block}
    return MARKED.sub(lambda found: found[1] + blocks[found[2]](found[3]) + found[4], page)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders that clgnn compare wrote")
    for folder in parser.parse_args(arguments).folders:
        collect(folder)
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
