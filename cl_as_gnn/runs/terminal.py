"""The scores of a run as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cl_as_gnn.evaluation.scores import LABEL_FREE, find_score, has_accuracies, of_run, table_rows, under_shifts


def print_scores(metrics: Mapping[str, Any], console: Console) -> None:
    """Print the short table of a run and its baselines, and lines on its views."""
    labeled, rows = has_accuracies(metrics), table_rows(metrics)
    scores = [score for score in of_run(metrics).values() if any(row.get(score.key) is not None for _, row in rows)]
    title = f"{metrics['dataset']}, {'top-1 accuracy in %' if labeled else 'without labels'}"
    headings = [s.title if labeled else s.title.lower() + ", %" * (s.unit == "%") for s in scores]
    table = number_table(title, headings)
    for i, (name, row) in enumerate(rows):
        table.add_row(name, *[score.text(row.get(score.key)) for score in scores], style="bold" if i == 0 else "")
    console.print(table)
    if found := under_shifts(metrics):
        table = number_table("under shifts, %", list(found["linear"]))
        for probe, values in found.items():
            table.add_row(find_score(f"{probe}_top1").title, *(f"{value:.1f}" for value in values.values()))
        console.print(table)
    if "transfer_knn_top1" in metrics:
        linear, knn = metrics["transfer_linear_top1"], metrics["transfer_knn_top1"]
        console.print(f"transfer, with probes of its own: linear {linear:.1f} %, kNN {knn:.1f} %")
    if labeled and "alignment" in metrics:
        known = [find_score(key) for key in LABEL_FREE if key in metrics]
        line = ", ".join(f"{s.title.lower()} {s.text(metrics[s.key])}{' %' * (s.unit == '%')}" for s in known)
        console.print(line, style="dim", soft_wrap=True)
    if "i_nce" in metrics:
        shared, ceiling = metrics["i_nce"], metrics["i_nce_ceiling"]
        console.print(f"two views share {shared:.2f} nats (I_NCE) of at most {ceiling:.2f}", style="dim")


def print_finished(metrics: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Print the scores of a run that has just finished, its time and its folder."""
    print_scores(metrics, console)
    epochs = f"{metrics['epochs']} epoch{'s' * (metrics['epochs'] != 1)}"
    line = f"{epochs}, {metrics['seconds']:.0f} s in all · {folder}/metrics.json"
    console.print(line, style="dim", soft_wrap=True)


def number_table(title: str, headings: Sequence[str]) -> Table:
    """Return an empty table whose columns of numbers are aligned to the right, below a title."""
    table = Table("", box=None, pad_edge=False, title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def print_numbers(
    title: str, headings: Sequence[str], rows: Iterable[tuple[str, float, Sequence[float]]], console: Console
) -> None:
    """Print a table of numbers, three digits of each: the name of a row, its first number and the others."""
    table = number_table(title, headings)
    for name, first, others in rows:
        table.add_row(name, *[f"{value:.3g}" for value in (first, *others)])
    console.print(table)
