"""The hardest of m views against their mean, under shifts and by transfer: tables of the suites ``arcl_*``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.common.page import Block
from benchmarks.common.table import MISSING, markdown
from benchmarks.tokens import block
from cl_as_gnn.compare import interval
from cl_as_gnn.evaluation.scores import find_score

_DIGITS = (
    "linear_top1",
    "shift_linear_top1",
    *(f"shift_{name}_linear_top1" for name in ("rotate", "blur", "noise", "cutout")),
    "knn_top1",
    "shift_knn_top1",
)
_CIFAR10 = (
    *("linear_top1", "shift_linear_top1", "transfer_linear_top1"),
    *("knn_top1", "shift_knn_top1", "transfer_knn_top1"),
)
_HARDEST, _MEAN = "hardest_", "mean_"


def paired(results: Mapping[str, Any], row: str, key: str) -> tuple[float, float] | None:
    """Mean difference of a run with the hardest view to the one with the mean of as many, seed by seed, and the
    half-width of its 95 % interval; ``None`` where a number is missing."""
    rows, other = results["rows"], row.replace(_HARDEST, _MEAN)
    if other not in rows:
        return None
    means = rows[other]["seeds"]
    pairs = [(found.get(key), means.get(seed, {}).get(key)) for seed, found in rows[row]["seeds"].items()]
    return None if any(None in pair for pair in pairs) else interval([value - base for value, base in pairs])


def differences(results: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Table of the paired differences, of every number of views above two; with two, both are one method."""

    def cell(row: str, key: str) -> str:
        found = paired(results, row, key)
        return MISSING if found is None else f"{found[0]:+.1f} ± {found[1]:.1f}"

    rows = [
        [f"`{row}` − `{row.replace(_HARDEST, _MEAN)}`", *(cell(row, key) for key in keys)]
        for row in results["rows"]
        if _HARDEST in row and not row.endswith("_2")
    ]
    text = "Hardest minus mean at equal views and images encoded, paired by seed, ± half of the 95 % interval:\n\n"
    return text + markdown(["points", *(find_score(key).title for key in keys)], rows)


def blocks() -> dict[str, Block]:
    """The blocks of ``docs/shifts.md``."""
    suites = {"arcl_digits": _DIGITS, "arcl_cifar10": _CIFAR10}
    return {name: partial(block, name, keys, partial(differences, keys=keys)) for name, keys in suites.items()}
