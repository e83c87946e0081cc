"""Tables in Markdown and in the terminal, and the numbers in their cells."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from statistics import mean, stdev

from rich.table import Table

MISSING = "–"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Format a Markdown table; the first ``left`` columns are aligned to the left, the others to the right."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def terminal(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, bold: Container[int] = ()
) -> Table:
    """The same table for the terminal; the rows whose indices are in ``bold`` stand out."""
    out = Table(title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    for index, name in enumerate(head):
        out.add_column(name, justify="left" if index < left else "right", no_wrap=index < left)
    for index, row in enumerate(rows):
        out.add_row(*row, style="bold" if index in bold else "")
    return out


def spread(values: Sequence[float]) -> str:
    """Format mean ± standard deviation with one decimal; fewer than five values add their count in brackets."""
    if not values:
        return MISSING
    if len(values) == 1:
        return f"{values[0]:.1f} (1)"
    few = "" if len(values) >= 5 else f" ({len(values)})"
    return f"{mean(values):.1f} ± {stdev(values):.1f}{few}"


def difference(found: tuple[float, float] | None) -> str:
    """Format a mean difference ± half of its 95 % interval (NaN of one pair), in bold where the interval excludes 0."""
    if found is None:
        return MISSING
    delta, half = found
    text = f"{delta:+.1f}" if half != half else f"{delta:+.1f} ± {half:.1f}"
    return f"**{text}**" if abs(delta) > half else text


def fixed(value: float | None, decimals: int = 1) -> str:
    """Format a number with a fixed number of decimals."""
    return MISSING if value is None else f"{value:,.{decimals}f}"


def significant(value: float | None) -> str:
    """Format a number with three significant digits."""
    if value is None:
        return MISSING
    if value == 0 or 1e-3 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.0e}"
