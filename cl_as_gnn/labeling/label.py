"""All labels from few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cl_as_gnn.datasets.folder import listed_classes
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation.propagation import NEIGHBORS, affinity_graph, propagate, shares
from cl_as_gnn.labeling.doubts import crossed_out, duplicates, outliers
from cl_as_gnn.labeling.embedded import Embedded, embedded, write_rows
from cl_as_gnn.labeling.sheet import write_sheet
from cl_as_gnn.runs.folder import check_out

COLUMNS = ("file", "label", "confidence", "given", "decided_by", "note")
_DECIDERS = 3
_SHOWN = 48
_SURE = 0.5


@dataclass(frozen=True)
class Labels:
    """Labels of all rows.

    Attributes:
        label: class of each row ``(n,)``; that of given rows is what was given.
        confidence: share of that class among what reaches the row along the graph ``(n,)``; of a given label while it
            is hidden, 1 where that is not known.
        deciders: the neighbors that say the most for the label ``(n, 3)``, −1 where there are fewer.
        against: the class that the graph holds for a given label with more than half of the weight, −1 where none
            contradicts ``(n,)``.
        copy: the row that a row nearly copies, −1 if none ``(n,)``.
        far: whether a row is far from all others ``(n,)``.
        unreached: whether no path leads to a label, which is then that of the most similar labeled row ``(n,)``.
        hidden: how many of the given labels were hidden in turn.
        found_again: how many of those the graph finds.
    """

    label: Tensor
    confidence: Tensor
    deciders: Tensor
    against: Tensor
    copy: Tensor
    far: Tensor
    unreached: Tensor
    hidden: int
    found_again: int

    def doubtful_first(self) -> list[int]:
        """Rows whose given label is contradicted, then all by confidence."""
        key = self.confidence - 2 * (self.against >= 0).float()
        order: list[int] = key.argsort(stable=True).tolist()
        return order


def label_rows(x: Tensor, given: Tensor, count: int, k: int = NEIGHBORS) -> Labels:
    """Spread labels over the kNN graph of unit features ``(n, d)``.

    Args:
        x: unit features.
        given: int64 ``(n,)``, −1 where unknown, at least one known.
        count: number of classes.
        k: neighbors of each row.
    """
    graph, known = affinity_graph(x, k), given >= 0
    hot = F.one_hot(given.clamp(min=0), count).float() * known.unsqueeze(1)
    spread = shares(propagate(graph, hot))
    confidence, label = spread.max(1)
    unreached = (confidence == 0) & ~known
    if bool(unreached.any()):
        label[unreached] = given[known][(x[unreached] @ x[known].T).argmax(1)]
    hidden = crossed_out(graph, given, count)
    tested, label = hidden.sum(1) > 0, torch.where(known, given, label)
    says = hidden.argmax(1)
    against = torch.where(tested & (says != given) & (hidden.amax(1) > _SURE), says, -1)
    own = hidden.gather(1, label.unsqueeze(1)).squeeze(1)
    confidence = torch.where(known, torch.where(tested, own, 1.0), confidence)
    deciders, counts = _deciders(graph, spread, label), (int(tested.sum()), int((says == given)[tested].sum()))
    return Labels(label, confidence, deciders, against, duplicates(x), outliers(x, k), unreached, *counts)


def _deciders(graph: Tensor, spread: Tensor, label: Tensor) -> Tensor:
    """For each row i the rows j of largest ``A_ij F_j[label_i]``."""
    target = torch.arange(len(label)).repeat_interleave(graph.crow_indices().diff())
    source = graph.col_indices()
    weight = graph.values() * spread[source, label[target]]
    # Sorted by weight, and then stably by row: the first of each row are its largest.
    order = weight.argsort(descending=True, stable=True)
    order = order[target[order].argsort(stable=True)]
    start = graph.crow_indices()[:-1].unsqueeze(1) + torch.arange(_DECIDERS)
    inside = start < graph.crow_indices()[1:].unsqueeze(1)
    at = order[start.clamp(max=len(order) - 1)]
    return torch.where(inside & (weight[at] > 0), source[at], -1)


def read_labels(table: Path, files: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Labels of the files by a table with the columns ``file`` and ``label``, ``(n,)``, −1 where unknown; the classes.

    Raises:
        ConfigError: the table cannot be read, names other files, or holds no label.
    """
    names = listed_classes(table, {"": list(files)}, "among the images")[""]
    classes = tuple(sorted({name for name in names if name}))
    if not classes:
        raise ConfigError(f"{table} holds no label: fill in its column label for some files")
    number = {name: i for i, name in enumerate(classes)} | {"": -1}
    return torch.tensor([number[name] for name in names]), classes


def label_images(path: Path, table: Path, out: Path, console: Console, images: Path | None = None) -> Labels:
    """Write the label of every image from a table of some, doubtful ones first, and a contact sheet of those.

    Args:
        path: a finished run.
        table: a file with the columns ``file`` and ``label``.
        out: the ``.csv`` file to write; the sheet is the same as ``.html``.
        console: for progress and the summary.
        images: label the images of this folder instead of those of the run.

    Raises:
        ConfigError, RunError: a file is wrong.
    """
    check_out(out, "a table is", ".csv")
    if out.resolve() == table.resolve():
        raise ConfigError(f"--out {out} is the table of the given labels: name another file")
    found = embedded(path, images, console)
    given, classes = read_labels(table, found.files)
    with console.status("spreading labels"):
        labels = label_rows(found.x, given, len(classes))
    order = labels.doubtful_first()
    rows = [_row(found, labels, given, classes, i) for i in order]
    write_rows(out, COLUMNS, rows)
    shown = order[:_SHOWN]
    captions = [[f"{r[1]}, {float(r[2]):.0%}", r[0], *([r[5]] if r[5] else [])] for r in rows[:_SHOWN]]
    pictures = [
        [found.thumbnail(i).numpy() for i in (row, *(j for j in labels.deciders[row].tolist() if j >= 0))]
        for row in shown
    ]
    sheet, count = out.with_suffix(".html"), int((given >= 0).sum())
    said = (
        f"The {len(shown)} most doubtful of {len(found):,} images of {found.source}, with the neighbors that decided. "
        f"Labels spread from {count:,} given ones."
    )
    write_sheet(sheet, "Labels to check", said, pictures, captions)
    _print_summary(found, labels, given, classes, console)
    console.print(f"{out}, the most doubtful in pictures: {sheet}", soft_wrap=True, markup=False)
    return labels


def _row(found: Embedded, labels: Labels, given: Tensor, classes: tuple[str, ...], i: int) -> list[str]:
    notes = []
    if (other := int(labels.against[i])) >= 0:
        notes.append(f"neighbors say {classes[other]}")
    if bool(labels.unreached[i]):
        notes.append("not connected to a label")
    if (copy := int(labels.copy[i])) >= 0:
        notes.append(f"nearly the same as {found.files[copy]}")
    if bool(labels.far[i]):
        notes.append("unlike all others")
    deciders = " ".join(found.files[j] for j in labels.deciders[i].tolist() if j >= 0)
    was = classes[int(given[i])] if given[i] >= 0 else ""
    confidence = f"{float(labels.confidence[i]):.3f}"
    return [found.files[i], classes[int(labels.label[i])], confidence, was, deciders, "; ".join(notes)]


def _print_summary(found: Embedded, labels: Labels, given: Tensor, classes: tuple[str, ...], console: Console) -> None:
    counts = Counter(labels.label.tolist())
    known = Counter(given[given >= 0].tolist())
    table = Table("label", "given", "spread to", "sure", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    sure = labels.label[(labels.confidence > _SURE) & (given < 0)]
    for i, name in enumerate(classes):
        new = counts[i] - known[i]
        share = f"{int((sure == i).sum()) / new:.0%}" if new else "–"
        table.add_row(name, f"{known[i]:,}", f"{new:,}", share)
    console.print(table)
    lines = []
    if labels.hidden:
        lines.append(f"hidden in turn, {labels.found_again:,} of {labels.hidden:,} given labels are found again")
    for what, mask in (
        ("given labels that their neighbors contradict", labels.against >= 0),
        ("images not connected to a label (label of the most similar labeled one)", labels.unreached),
        ("images that nearly copy another", labels.copy >= 0),
        ("images unlike all others", labels.far),
    ):
        if count := int(mask.sum()):
            lines.append(f"{count:,} {what}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
