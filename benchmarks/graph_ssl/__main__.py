"""``python -m benchmarks.graph_ssl NAME …`` is ``python -m benchmarks.graph_ssl.NAME …``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from cl_as_gnn.errors import ConfigError

HELPERS = {"__init__", "__main__", "planetoid", "runs", "stopped_probe"}


def main() -> None:
    """Hand the rest of the line to the benchmark that its first word names."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    name, *words = sys.argv[1:] or [""]
    if name not in names:
        sys.exit(f"python -m benchmarks.graph_ssl {name or 'NAME'}: the benchmarks are {', '.join(names)}")
    try:
        importlib.import_module(f"benchmarks.graph_ssl.{name}").main(words)
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
