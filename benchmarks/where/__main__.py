"""``python -m benchmarks.where sets OUT NAME=SOURCE …``, ``… run SETS`` and ``… publish SETS``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.where import page, runs, sets
from cl_as_gnn.config import read_yaml
from cl_as_gnn.errors import ConfigError

_ROWS = tuple(read_yaml(runs.SUITE)["runs"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write data sets, or train on them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.where", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("sets", help="write data sets as folders")
    write.add_argument("out", type=Path)
    write.add_argument("data", nargs="+", help=f"NAME=SOURCE: {', '.join((*sets.IMAGES, 'solubility'))}")
    train = commands.add_parser("run", help="train what is missing, every row of one data set after the other")
    publish = commands.add_parser("publish", help="write the results file from the runs that have finished")
    for command in (train, publish):
        command.add_argument("sets", type=Path, help="folder that holds the data sets")
        command.add_argument("--out", type=Path, default=Path("runs/where_it_pays"))
        command.add_argument("--split", choices=("validation", "test"), default="test")
    train.add_argument("--rows", nargs="+", default=_ROWS, choices=_ROWS)
    train.add_argument("--data", nargs="+", default=tuple(runs.SETS), choices=tuple(runs.SETS))
    train.add_argument("--set", nargs="*", default=(), help="further settings, as of clgnn compare")
    given = parser.parse_args(arguments)
    console = Console()
    try:
        if given.command == "sets":
            for word in given.data:
                name, _, source = word.partition("=")
                console.print(name, sets.write(name, Path(source), given.out))
        if given.command == "publish":
            page.publish(given.sets, given.out, given.split)
        if given.command != "run":
            return
        for name in given.data:
            console.print(name, style="bold")
            runs.run(name, given.sets, given.out, given.split, given.rows, given.set, console)
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
