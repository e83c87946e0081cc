"""Options that the benchmarks of this folder share."""

from __future__ import annotations

import argparse
from pathlib import Path


def options_of(
    program: str, about: str | None, out: Path, root: str = "PyG's Planetoid folder, with Cora/raw in it"
) -> argparse.ArgumentParser:
    """Build a parser with ``--root``, ``--out`` and ``--seeds``; ``root`` is the help of the first."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.graph_ssl{program}", description=about)
    parser.add_argument("--root", type=Path, required=True, help=root)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--seeds", type=int, default=5)
    return parser
