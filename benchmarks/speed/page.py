"""The page of the documentation, written from the numbers and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]

HEAD = """# Speed

Written by `python -m benchmarks.speed` from `benchmarks/results/speed.json`; do not edit it by hand.
What is timed, and how, is said in `benchmarks/README.md`.
"""
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


def page(report: Report) -> str:
    """Markdown: the machine, the goals beside what was measured, then every row, losses included."""
    its, has = report["machine"], report["versions"]
    where = its.get("gpu") or f"{its['processor']}, {its['cores']} cores, {its['threads']} threads"
    versions = ", ".join(f"{name} {value}" for name, value in has.items() if value)
    lines = [HEAD, f"{where}; {report['date'][:10]}. {versions}.", "" if its["device"] == "cuda" else f"\n{GPU}\n"]
    lines += ["## Goals\n", "| | goal | measured | |", "|---|---|---|---|"]
    for name, sign, goal, value in goals(report):
        held = "" if value is None else "held" if (value >= goal if sign == "≥" else value <= goal) else "**missed**"
        lines.append(f"| {name} | {sign} {goal:g} | {number(value)} | {held} |")
    lines += [f"\n{line}" for line in limits(report)]
    for group in TITLES:
        rows = [row for row in report["rows"] if row["group"] == group]
        if rows:
            lines += ["", f"## {TITLES[group]}\n", *_table(rows), ""]
            lines += [f"- {note}" for note in notes(rows)]
    return "\n".join(lines) + "\n"


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said below a group's table: once, and with its case before it where it does not hold for all of them."""
    cases: dict[str, list[str]] = {}
    for row in rows:
        for note in row["notes"]:
            cases.setdefault(note, []).append(row["case"])
    return [note if len(of) == len(rows) else f"{', '.join(of)}: {note}" for note, of in cases.items()]


def goals(report: Report) -> list[tuple[str, str, float, float | None]]:
    """What is asked for, whether at least or at most that much, and what was measured (None: not there)."""
    rows = {(row["group"], row["case"]): {c["name"]: c for c in row["contenders"]} for row in report["rows"]}

    def of(group: str, case: str, value: Callable[[Mapping[str, Any]], float | None]) -> float | None:
        found = [value(names) for (g, c), names in rows.items() if g == group and c.startswith(case)]
        return found[0] if found else None

    def slower(group: str, case: str, peer: str) -> float | None:
        return of(group, case, lambda row: row[peer]["times_ours"] if peer in row else None)

    def error(group: str, case: str, temperature: str) -> float | None:
        return of(group, case, lambda row: row["cl_as_gnn"]["extra"][f"error τ={temperature}"])

    def peak(row: Mapping[str, Any], name: str) -> float:
        return float(row[name]["extra"]["peak MB"])

    def lighter(group: str, case: str, peer: str) -> float | None:
        """How many times less memory than a peer."""
        known = ("cl_as_gnn", peer)
        return of(
            group,
            case,
            lambda row: (
                peak(row, peer) / peak(row, "cl_as_gnn")
                if all(name in row and row[name]["extra"].get("peak MB") for name in known)
                else None
            ),
        )

    def share(row: Mapping[str, Any]) -> float:
        return 100 * float(row["encoder alone"]["times_ours"])

    peer = "lightly + Lightning"
    on_gpu: list[tuple[str, str, float, float | None]] = []
    if report["machine"]["device"] == "cuda":
        seconds = of("all_pairs_large", "1048576 bf16", lambda row: row["cl_as_gnn"]["median_s"])
        on_gpu = [
            ("NT-Xent, n = 1024, fp32: times faster than lightly", "≥", 1, slower("all_pairs", "1024", "lightly")),
            ("NT-Xent, n = 1,048,576, bf16: seconds", "≤", 5, seconds),
            ("memory at n = 1,048,576 in MB", "≤", 4000, of("memory", "1048576", lambda row: peak(row, "cl_as_gnn"))),
        ]
    return [
        *on_gpu,
        ("NT-Xent, n = 8192, fp32: times faster than lightly", "≥", 10, slower("all_pairs", "8192", "lightly")),
        ("the same under bf16 autocast", "≥", 20, slower("all_pairs_bf16", "8192", "lightly")),
        ("NT-Xent, n = 256: times faster than dense torch", "≥", 1, slower("all_pairs", "256", "dense torch")),
        ("memory at n = 8192: times less than lightly", "≥", 25, lighter("memory", "8192", "lightly")),
        ("memory at n = 65,536 in MB", "≤", 400, of("memory", "65536", lambda row: peak(row, "cl_as_gnn"))),
        ("gradient error, fp32, τ = 0.5, n = 8192", "≤", 1e-6, error("all_pairs", "8192", "0.5")),
        ("gradient error, bf16, τ = 0.5, n = 8192", "≤", 2e-3, error("all_pairs_bf16", "8192", "0.5")),
        ("gradient error, fp32, τ = 0.01, n = 8192", "≤", 1e-4, error("all_pairs", "8192", "0.01")),
        ("sparse: times faster than propagate on COO", "≥", 15, slower("sparse", "8192", "propagate, COO")),
        (
            "kNN graph: time over faiss alone",
            "≤",
            1.1,
            of("knn", "8192", lambda row: 1 / row["faiss alone"]["times_ours"] if "faiss alone" in row else None),
        ),
        ("views: times faster than torchvision in two workers", "≥", 15, slower("views", "", "torchvision v2")),
        ("small encoder's share of a step in %", "≥", 93, of("step", "small", share)),
        ("ResNet-18's share of a step in %", "≥", 93, of("step", "resnet18", share)),
        (f"training, small encoder: times {peer}", "≥", 4, slower("training", "small", peer)),
        (f"training, ResNet-18: times {peer}", "≥", 3, slower("training", "resnet18", peer)),
        ("memory of training, small encoder: times less than lightly", "≥", 1, lighter("training", "small", peer)),
        ("memory of training, ResNet-18: times less than lightly", "≥", 1, lighter("training", "resnet18", peer)),
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
        most, measured = number(peer["times_floor"]), number(peer["times_ours"])
        yield (
            f"{row['case']}: {what} alone, at the rate of a large square product, would be {most} times faster than "
            f"lightly; with all else it is {measured}."
        )


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.0e}"


def columns(rows: list[Any] | tuple[Any, ...]) -> tuple[list[str], Callable[[Mapping[str, Any]], list[float | None]]]:
    """Headings of a group's numbers and a contender's numbers under them."""
    entries = [entry for row in rows for entry in row["contenders"]]
    extras = list(dict.fromkeys(key for entry in entries for key in entry["extra"]))
    known = {
        "ms": lambda e: 1e3 * e["median_s"] if "median_s" in e else None,
        "× ours": lambda e: e.get("times_ours"),
        "× floor": lambda e: e.get("times_floor"),
        "images/s": lambda e: e.get("items_per_s"),
    }
    used = {heading: get for heading, get in known.items() if any(get(entry) is not None for entry in entries)}
    return [*used, *extras], lambda e: [get(e) for get in used.values()] + [e["extra"].get(key) for key in extras]


def _table(rows: list[Any]) -> list[str]:
    headings, numbers = columns(rows)
    lines = ["| case | | " + " | ".join(headings) + " |", "|---|---|" + "---:|" * len(headings)]
    for row in rows:
        for position, entry in enumerate(row["contenders"]):
            case = row["case"] if position == 0 else ""
            lines.append(f"| {case} | {entry['name']} | " + " | ".join(map(number, numbers(entry))) + " |")
    return lines
