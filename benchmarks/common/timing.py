"""Timing in turn: every contender runs once a round, so that a slow spell of the machine falls on all of them."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

WARM_UP = 2
# A call this long is warm after one.
LONG = 1.0
MOST_ROUNDS = 61
# Of rows that time themselves: a sample of them takes many seconds.
ALONE_ROUNDS = 5


@dataclass(frozen=True)
class Settings:
    """How everything is measured.

    Args:
        device: where the work runs; on CUDA every sample starts and ends with a synchronized device.
        quick: small sizes, for seeing that it runs.
        rounds: samples of each contender, at least five.
        steady: seconds; short calls get more rounds, until the slowest contender of a row has taken about as long.
        min_seconds: a sample repeats its call until it lasts about as long.
        gemm: side of the square matrices whose product sets the floor.
        copy: floats in the buffer whose copy sets the floor of what only moves memory.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    quick: bool = False
    rounds: int = 7
    steady: float = 0.0
    min_seconds: float = 0.05
    gemm: int = 2048
    copy: int = 2**25

    def __post_init__(self) -> None:
        if self.rounds < 5:
            raise ValueError(f"a median expects at least 5 rounds, got {self.rounds}")


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: a sample a round, each the mean of ``calls`` calls."""

    samples: tuple[float, ...]
    calls: int

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def as_dict(self) -> dict[str, Any]:
        return {
            "median_s": self.median,
            "min_s": min(self.samples),
            "max_s": max(self.samples),
            "rounds": len(self.samples),
            "calls_per_round": self.calls,
        }


@dataclass(frozen=True)
class Work:
    """What cannot be avoided: ``flops`` of matrix products in ``dtype``, ``bytes`` read or written once."""

    flops: float = 0.0
    bytes: float = 0.0
    dtype: torch.dtype = torch.float32


@dataclass
class Contender:
    """One implementation. ``items`` a call (images, say) are also reported per second."""

    name: str
    call: Callable[[], object]
    work: Work | None = None
    items: int | None = None
    extra: dict[str, float | None] = field(default_factory=dict)


@dataclass
class Row:
    """Contenders for the same work, ours first, and whatever the reader needs to know about it.

    With ``self_timed`` a call returns its seconds itself: what comes before and after them is not counted. An
    ``untimed`` row has other numbers only, its contenders' ``extra``.
    """

    group: str
    case: str
    contenders: list[Contender]
    sizes: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    self_timed: bool = False
    untimed: bool = False


def in_turn(calls: Mapping[str, Callable[[], object]], settings: Settings) -> dict[str, Timing]:
    """Time the calls A B C A B C …, after a warm-up of each that also sets how often a sample repeats it."""
    repeats, slowest = {}, 1e-9
    for name, call in calls.items():
        once = seconds(call, 1, settings.device)
        if once < LONG:
            for _ in range(WARM_UP):
                once = seconds(call, 1, settings.device)
        repeats[name] = max(1, math.ceil(settings.min_seconds / max(once, 1e-9)))
        slowest = max(slowest, repeats[name] * once)
    rounds = max(settings.rounds, min(MOST_ROUNDS, round(settings.steady / slowest)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in calls.items():
                samples[name].append(seconds(call, repeats[name], settings.device))
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(tuple(values), repeats[name]) for name, values in samples.items()}


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Of one call, the mean of some."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize(device)
    return (time.perf_counter() - start) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(row: Row, settings: Settings) -> dict[str, Any]:
    """Time a row's contenders, and in the same rounds the matrix product and the copy that their floors come from."""
    if row.self_timed or row.untimed:
        return _measure_alone(row, settings)
    works = [contender.work for contender in row.contenders if contender.work]
    calls = {contender.name: contender.call for contender in row.contenders}
    dtypes = {work.dtype for work in works if work.flops}
    references = {f"GEMM {_name(dtype)}": gemm(dtype, settings) for dtype in sorted(dtypes, key=str)}
    if any(work.bytes for work in works):
        references["copy"] = _copy(settings)
    timings = in_turn(calls | references, settings)
    rates = {
        name: (8 * settings.copy if name == "copy" else 2 * settings.gemm**3) / timings[name].median
        for name in references
    }
    ours = timings[row.contenders[0].name].median
    contenders = []
    for contender in row.contenders:
        timing = timings[contender.name]
        result = {"name": contender.name, **timing.as_dict(), "times_ours": timing.median / ours}
        if contender.work:
            floor = _floor(contender.work, rates)
            result |= {"floor_s": floor, "times_floor": timing.median / floor}
        if contender.items:
            result["items_per_s"] = contender.items / timing.median
        contenders.append({**result, "extra": contender.extra})
    return {
        "group": row.group,
        "case": row.case,
        "sizes": row.sizes,
        "contenders": contenders,
        "rates": rates,
        "notes": row.notes,
    }


def _measure_alone(row: Row, settings: Settings) -> dict[str, Any]:
    """A row that times itself, with the rate of its floor from the same rounds, or one that has no times."""
    contenders: list[dict[str, Any]] = [
        {"name": contender.name, "extra": contender.extra} for contender in row.contenders
    ]
    rates: dict[str, float] = {}
    if row.self_timed:
        works = [contender.work for contender in row.contenders if contender.work]
        references = {f"GEMM {_name(work.dtype)}": gemm(work.dtype, settings) for work in works}
        rounds, products = [], []
        for _ in range(ALONE_ROUNDS):
            rounds.append([float(c.call()) for c in row.contenders])  # type: ignore[arg-type]
            products.append([seconds(call, 3, settings.device) for call in references.values()])
        for name, samples in zip(references, zip(*products, strict=True), strict=True):
            rates[name] = 2 * settings.gemm**3 / statistics.median(samples)
        timings = [Timing(samples, 1) for samples in zip(*rounds, strict=True)]
        for entry, contender, timing in zip(contenders, row.contenders, timings, strict=True):
            entry |= timing.as_dict() | {"times_ours": timing.median / timings[0].median}
            if contender.work:
                floor = _floor(contender.work, rates)
                entry |= {"floor_s": floor, "times_floor": timing.median / floor}
            if contender.items:
                entry["items_per_s"] = contender.items / timing.median
    head = {"group": row.group, "case": row.case, "sizes": row.sizes}
    return {**head, "contenders": contenders, "rates": rates, "notes": row.notes}


def _floor(work: Work, rates: Mapping[str, float]) -> float:
    compute = work.flops / rates[f"GEMM {_name(work.dtype)}"] if work.flops else 0.0
    return max(compute, work.bytes / rates["copy"] if work.bytes else 0.0)


def _name(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


def gemm(dtype: torch.dtype, settings: Settings) -> Callable[[], object]:
    """A product of two large square matrices."""
    a, b = torch.randn(2, settings.gemm, settings.gemm, device=settings.device).to(dtype)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _copy(settings: Settings) -> Callable[[], object]:
    source = torch.zeros(settings.copy, device=settings.device)
    target = torch.empty_like(source).zero_()  # written once, so that no page is missing
    return lambda: target.copy_(source)
