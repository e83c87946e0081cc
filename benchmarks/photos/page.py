"""The part of ``docs/speed.md`` on photographs that is made from the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import fixed, markdown, significant

Report = Mapping[str, Any]
OUT = RESULTS / "photos.json"
FILES, PEER = "cl_as_gnn, files", "ImageFolder, 2 workers"
FILL, CACHE = "cl_as_gnn, first epoch of a cache", "cl_as_gnn, later epochs"
READ_FILES, READ_CACHE = "reading files", "reading a cache"
STEP, STEP_PEER = "cl_as_gnn", "LightlyTrain"


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"photos": lambda: page(read(OUT))}


def rate(report: Report, part: str, name: str) -> float | None:
    """Median of photographs a second; None if it was not measured."""
    samples: Sequence[float] = report["rates"].get(part, {}).get(name, ())
    return median(samples) if samples else None


def ratio(report: Report, part: str, over: str, under: str) -> float | None:
    """Median of the ratios of two rates that were measured in the same round."""
    rates = report["rates"].get(part, {})
    pairs = list(zip(rates.get(over, ()), rates.get(under, ()), strict=False))
    return median(a / b for a, b in pairs) if pairs else None


def goals(report: Report) -> list[tuple[str, float, float | None]]:
    """Name, least value and measured value."""
    return [
        ("data and views from files: times torchvision's", 2, ratio(report, "data", FILES, PEER)),
        ("whole step from files: times LightlyTrain's", 1.5, ratio(report, "step", STEP, STEP_PEER)),
        ("reading a cache: times reading files", 4, ratio(report, "data", READ_CACHE, READ_FILES)),
        ("data and views in later epochs of a cache: times the first", 4, ratio(report, "data", CACHE, FILL)),
    ]


def page(report: Report) -> str:
    """Markdown: protocol, goals beside the measured values, rates."""
    its = report["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items() if value)
    lines = [f"{its['processor']}, {its['cores']} cores; {report['date'][:10]}. {versions}.", ""]
    if (load := report["machine"]["load"]) and load > 0.5:
        lines += [
            f"Other processes kept {load:.1f} cores busy: the ratios, of contenders in turn, count, not the rates.",
            "",
        ]
    rows = []
    for name, least, value in goals(report):
        held = "" if value is None else "held" if value >= least else "**missed**"
        rows.append([name, f"≥ {least:g}", significant(value), held])
    lines += [markdown(["", "goal", "measured", ""], rows), _data(report), _steps(report)]
    return "\n".join(lines + _notes(report)) + "\n"


def _notes(report: Report) -> list[str]:
    its = report["protocol"]
    side, data, step = its["side"], its["data_batch"], its["step_batch"]
    return [
        f"- {its['photographs']:,} photographs of about 400 × 533 px, linked {its['entries']:,} times, shuffled; two "
        f"views of {side} px, SimCLR's recipe with blur",
        f"- in turn, medians of {its['data_rounds']} rounds of {its['data_batches']} batches of {data}, and of "
        f"{its['step_rounds']} rounds of {its['step_batches']} steps of {step}; ratios are medians over rounds",
        f"- decoder: {its['decoder']}; the cache keeps {2 * side} px, uncompressed",
        *(f"- {name}: {about}" for name, about in report["about"].items()),
        *_shares(report),
    ]


def _shares(report: Report) -> list[str]:
    """What faster data could gain at most: in a step, and where nothing is decoded."""
    files, kept, step = rate(report, "data", FILES), rate(report, "data", READ_CACHE), rate(report, "step", STEP)
    views = rate(report, "data", CACHE)
    out = []
    if files and step:
        out.append(f"- data and views take {step / files:.0%} of a step, if nothing overlaps; the model takes the rest")
    if views and kept:
        share = 1 - views / kept
        out.append(f"- views take {share:.0%} of the time of a later epoch of a cache; reading takes the rest")
    return out


def _data(report: Report) -> str:
    names = list(report["rates"].get("data", {}))
    spans = {name: report["rates"]["data"][name] for name in names}
    rows = [
        [name, fixed(rate(report, "data", name), 0), f"{min(spans[name]):,.0f} to {max(spans[name]):,.0f}"]
        for name in names
    ]
    return markdown(["data", "images/s", "range"], rows)


def _steps(report: Report) -> str:
    spans = report["rates"].get("step", {})
    rows = [
        [name, fixed(rate(report, "step", name), 1), f"{min(span):,.1f} to {max(span):,.1f}"]
        for name, span in spans.items()
    ]
    return markdown(["whole step", "images/s", "range"], rows)
