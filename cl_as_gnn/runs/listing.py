"""Entries of registries and settings in the terminal, or one line each for other programs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cl_as_gnn.config.describe import Setting, settings_of
from cl_as_gnn.registry import Registry
from cl_as_gnn.runs.plain_math import plain_doc


def _text(value: str | Iterable[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def entry_record(registry: Registry[Any], name: str, attributes: Iterable[str]) -> dict[str, Any]:
    """An entry for JSON: its name, attributes, description and settings."""
    entry = registry[name]
    return {
        "name": name,
        **{attribute: getattr(entry, attribute) for attribute in attributes},
        "description": plain_doc(entry),
        "settings": [setting.record() for setting in settings_of(entry.Config, registry.key)],
    }


def print_lines(rows: Iterable[Sequence[str]], console: Console) -> None:
    """Print each row in one line of any length, its parts apart by tabs, which rich would wrap and expand."""
    for row in rows:
        print("\t".join(row), file=console.file)


def print_entries(
    registry: Registry[Any], attributes: Mapping[str, str], console: Console, signs: Sequence[str] = ()
) -> None:
    """Print one line per entry, or as many as there are ``signs``, each before one of the attributes.

    If the output is no terminal, an entry is one unbroken line: its name and its attributes, apart by tabs.
    """
    rows = [[name, *(_text(getattr(entry, at)) for at in attributes)] for name, entry in registry.named()]
    if not console.is_terminal:
        print_lines(rows, console)
        return
    if not signs:
        rows.insert(0, [registry.key, *attributes.values()])
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(1 if signs else len(attributes))]
    for row in rows:
        lines = [["" if i else row[0], sign + row[1 + i]] for i, sign in enumerate(signs)] or [row]
        for name, *values in lines:
            cells = [value.ljust(width) for value, width in zip(values, widths[1:], strict=False)]
            line = Text.assemble((name.ljust(widths[0]), "bold"), *cells, *values[len(cells) :])
            line.truncate(console.width, overflow="ellipsis")
            console.print(line, no_wrap=True)


def print_entry(registry: Registry[Any], name: str, attributes: Mapping[str, str], console: Console) -> None:
    """Print all that is known of one entry: its description, its attributes and its settings."""
    entry = registry[name]
    console.print(plain_doc(entry), soft_wrap=not console.is_terminal)
    console.print()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for attribute, heading in attributes.items():
        if heading:
            table.add_row(heading, _text(getattr(entry, attribute)))
    console.print(table)
    console.print()
    print_settings([s for s in settings_of(entry.Config, registry.key) if s.key != f"{registry.key}.name"], console)


def print_settings(settings: Sequence[Setting], console: Console) -> None:
    """Print key, default and meaning with the type, by section; if to no terminal, key, type, default and meaning."""
    if not console.is_terminal:
        print_lines(([s.key, s.kind, s.default, s.meaning] for s in settings), console)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    sections = [(s.key.rpartition(".")[0], s) for s in settings]
    width = max((len(s.key.rpartition(".")[2]) for s in settings), default=0) + 2
    table.add_column(no_wrap=True, min_width=width)
    table.add_column(max_width=18, overflow="fold")
    table.add_column(overflow="fold")
    before = None
    for section, s in sections:
        if section and section != before:
            table.add_row(Text(f"{section}.", "bold"))
        indent, before = "  " if section else "", section
        meaning = Text(s.meaning).append(f" ({s.kind})" if s.meaning else s.kind, "dim")
        table.add_row(indent + s.key.rpartition(".")[2], s.default, meaning)
    console.print(table)
