"""Refresh every docs page from the checked-in results: ``python -m benchmarks.pages [--check]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks import (
    arcl,
    busy,
    checks,
    cost,
    findings,
    generator,
    growth,
    label_curve,
    labels,
    losses,
    scaling,
    tokens,
)
from benchmarks.common.page import Block, stale
from benchmarks.graph_ssl import alignment, depth, graphs, memory, nodes, splits
from benchmarks.photos import page as photos
from benchmarks.promises import page as promises
from benchmarks.speed import page as speed
from benchmarks.where import page as where

_GRAPHS = (nodes, splits, graphs, depth, alignment, memory)
_PAGES = (speed, photos, promises, where)
_TOPICS = (findings, tokens, arcl, labels, label_curve, losses, generator, busy, checks, cost, scaling, growth)
_MODULES = (*_TOPICS, *_PAGES, *_GRAPHS)
BLOCKS: dict[str, Block] = {name: block for module in _MODULES for name, block in module.blocks().items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pages that differ from their results; with ``--check`` only name them, and exit with 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    check = parser.parse_args(arguments).check
    found = list(stale(BLOCKS))
    for path, text in found:
        Console().print(f"{path.name} {'differs from its results' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
