"""The entries of a registry as a table in the terminal. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from cl_as_gnn.registry import Registry, from_source


def print_entries(
    registry: Registry[Any], attributes: Mapping[str, str], ratios: Sequence[int | None], console: Console, choose: str
) -> None:
    """Print the attributes of each entry, by the heading of their column, and how to choose one."""
    table = Table(box=None, pad_edge=False)
    table.add_column(registry.key, overflow="fold", style="bold")
    for heading, ratio in zip(attributes.values(), ratios, strict=True):
        table.add_column(heading, ratio=ratio, overflow="fold")
    with from_source():
        for name, entry in registry.items():
            values = (getattr(entry, attribute) for attribute in attributes)
            table.add_row(name, *(value if isinstance(value, str) else ", ".join(value) for value in values))
            table.add_row()
    console.print(table)
    console.print(choose, style="dim")
