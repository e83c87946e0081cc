"""The part of ``docs/speed.md`` that is made from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import markdown, significant

Report = Mapping[str, Any]
Goal = tuple[str, str, float, float | None]
OUT = RESULTS / "speed.json"

GPU = "The same command measures on a GPU where PyTorch finds one; it has not been run on one."
TITLES = {
    "all_pairs": "NT-Xent over all pairs, fp32",
    "all_pairs_bf16": "NT-Xent over all pairs, bf16 autocast",
    "all_pairs_large": "NT-Xent over very many pairs",
    "memory": "Memory of NT-Xent",
    "sparse": "Sparse messages",
    "knn": "kNN graph",
    "views": "Views",
    "step": "Parts of a training step",
    "training": "Training as a whole",
}


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"speed": lambda: page(read(OUT))}


def where(report: Report) -> str:
    """The GPU, or the processor with its cores and threads."""
    its = report["machine"]
    return str(its.get("gpu") or f"{its['processor']}, {its['cores']} cores, {its['threads']} threads")


def page(report: Report) -> str:
    """Markdown: the machine, the goals beside the measured values, then every row."""
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items() if value)
    lines = [f"{where(report)}; {report['date'][:10]}. {versions}.", ""]
    lines += [] if report["machine"]["device"] == "cuda" else [GPU, ""]
    rows = []
    for name, sign, goal, value in goals(report):
        held = "" if value is None else "held" if (value >= goal if sign == "≥" else value <= goal) else "**missed**"
        rows.append([name, f"{sign} {goal:g}", significant(value), held])
    lines += ["## Goals", "", markdown(["", "goal", "measured", ""], rows)]
    lines += [f"{line}\n" for line in limits(report)]
    for group in TITLES:
        found = [row for row in report["rows"] if row["group"] == group]
        if found:
            lines += [f"## {TITLES[group]}", "", markdown(*cells(found), left=2)]
            lines += [*(f"- {note}" for note in notes(found)), ""]
    return "\n".join(lines)


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said below a group's table: once, and with its case before it where it does not hold for all of them."""
    cases: dict[str, list[str]] = {}
    for row in rows:
        for note in row["notes"]:
            cases.setdefault(note, []).append(row["case"])
    return [note if len(of) == len(rows) else f"{', '.join(of)}: {note}" for note, of in cases.items()]


class Measured:
    """Numbers of a report by group and the beginning of a case; None where the report has none."""

    def __init__(self, report: Report):
        self.rows = {(row["group"], row["case"]): {c["name"]: c for c in row["contenders"]} for row in report["rows"]}

    def of(self, group: str, case: str, name: str) -> Mapping[str, Any] | None:
        """A contender."""
        row = next((names for (g, c), names in self.rows.items() if g == group and c.startswith(case)), {})
        return row.get(name)

    def slower(self, group: str, case: str, peer: str) -> float | None:
        """A peer's time relative to ours."""
        found = self.of(group, case, peer)
        return None if found is None else float(found["times_ours"])

    def extra(self, group: str, case: str, key: str, name: str = "cl_as_gnn") -> float | None:
        """A number that only some groups have, such as an error or a peak."""
        found = self.of(group, case, name)
        return None if found is None else found["extra"].get(key)

    def lighter(self, group: str, case: str, peer: str) -> float | None:
        """A peer's peak memory relative to ours."""
        ours, theirs = (self.extra(group, case, "peak MB", name) for name in ("cl_as_gnn", peer))
        return theirs / ours if ours and theirs else None


def goals(report: Report) -> list[Goal]:
    """Name, direction, goal and measured value (None: not measured)."""
    found = Measured(report)
    on_gpu = report["machine"]["device"] == "cuda"
    return [*(_gpu_goals(found) if on_gpu else []), *_kernel_goals(found), *_training_goals(found)]


def _gpu_goals(found: Measured) -> list[Goal]:
    large = found.of("all_pairs_large", "1048576 bf16", "cl_as_gnn")
    peak = found.extra("memory", "1048576", "peak MB")
    return [
        ("NT-Xent, n = 1024, fp32: times faster than lightly", "≥", 1, found.slower("all_pairs", "1024", "lightly")),
        ("NT-Xent, n = 1,048,576, bf16: seconds", "≤", 5, None if large is None else large["median_s"]),
        ("memory at n = 1,048,576 in MB", "≤", 4000, peak),
    ]


def _kernel_goals(found: Measured) -> list[Goal]:
    slower, lighter, extra = found.slower, found.lighter, found.extra
    faiss = slower("knn", "8192", "faiss alone")
    return [
        ("NT-Xent, n = 8192, fp32: times faster than lightly", "≥", 10, slower("all_pairs", "8192", "lightly")),
        ("the same under bf16 autocast", "≥", 20, slower("all_pairs_bf16", "8192", "lightly")),
        ("NT-Xent, n = 256: times faster than dense torch", "≥", 1, slower("all_pairs", "256", "dense torch")),
        ("memory at n = 8192: times less than lightly", "≥", 25, lighter("memory", "8192", "lightly")),
        ("memory at n = 65,536 in MB", "≤", 400, extra("memory", "65536", "peak MB")),
        ("gradient error, fp32, τ = 0.5, n = 8192", "≤", 1e-6, extra("all_pairs", "8192", "error τ=0.5")),
        ("gradient error, bf16, τ = 0.5, n = 8192", "≤", 2e-3, extra("all_pairs_bf16", "8192", "error τ=0.5")),
        ("gradient error, fp32, τ = 0.01, n = 8192", "≤", 1e-4, extra("all_pairs", "8192", "error τ=0.01")),
        ("sparse: times faster than propagate on COO", "≥", 15, slower("sparse", "8192", "propagate, COO")),
        ("kNN graph: time over faiss alone", "≤", 1.1, 1 / faiss if faiss else None),
        ("views: times faster than torchvision in two workers", "≥", 15, slower("views", "", "torchvision v2")),
    ]


def _training_goals(found: Measured) -> list[Goal]:
    peer, names = "lightly + Lightning", {"small": "small encoder", "resnet18": "ResNet-18"}
    share = {case: found.slower("step", case, "encoder alone") for case in names}
    shares: list[Goal] = [
        (f"{name}'s share of a step in %", "≥", 93, None if share[case] is None else 100 * (share[case] or 0))
        for case, name in names.items()
    ]
    return [
        *shares,
        (f"training, small encoder: times {peer}", "≥", 4, found.slower("training", "small", peer)),
        (f"training, ResNet-18: times {peer}", "≥", 3, found.slower("training", "resnet18", peer)),
        *(
            (f"memory of training, {name}: times less than lightly", "≥", 1, found.lighter("training", case, peer))
            for case, name in names.items()
        ),
    ]


def limits(report: Report) -> Iterator[str]:
    """What could be gained on lightly at most here: the flops that cannot be done without, alone and at full rate."""
    for row in report["rows"]:
        names = {c["name"]: c for c in row["contenders"]}
        pairs = row["group"].startswith("all_pairs") and row["sizes"].get("n") == 8192
        peer = next((names[name] for name in ("lightly", "lightly + Lightning") if name in names), None)
        if peer is None or "times_floor" not in peer or not (pairs or row["group"] == "training"):
            continue
        what = "the matrix products" if pairs else "a step of the encoder"
        most, measured = significant(peer["times_floor"]), significant(peer["times_ours"])
        yield (
            f"{row['case']}: {what} alone, at the rate of a large square product, would be {most} times faster than "
            f"lightly; with all else it is {measured}."
        )


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a group's table: case, contender, the numbers that the group has."""
    entries = [entry for row in rows for entry in row["contenders"]]
    extras = list(dict.fromkeys(key for entry in entries for key in entry["extra"]))
    known: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
        "ms": lambda e: 1e3 * e["median_s"] if "median_s" in e else None,
        "× ours": lambda e: e.get("times_ours"),
        "× floor": lambda e: e.get("times_floor"),
        "images/s": lambda e: e.get("items_per_s"),
    }
    used = {heading: get for heading, get in known.items() if any(get(entry) is not None for entry in entries)}
    out = []
    for row in rows:
        for position, entry in enumerate(row["contenders"]):
            numbers = [get(entry) for get in used.values()] + [entry["extra"].get(key) for key in extras]
            out.append([row["case"] if position == 0 else "", entry["name"], *map(significant, numbers)])
    return ["case", "", *used, *extras], out
