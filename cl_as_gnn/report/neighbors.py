"""Query samples and the nearest of the bank, as a table of pictures."""

from __future__ import annotations

from html import escape

import torch

from cl_as_gnn.report.markup import image, table
from cl_as_gnn.report.shown import Samples, Shown

_QUERIES, _NEIGHBORS = 8, 5


def neighbors(one: Shown) -> str:
    """Return a table: a query of each of several classes (without labels: drawn at random) and its nearest."""
    order = torch.randperm(len(one.asked), generator=torch.Generator().manual_seed(one.task.config.seed))
    if one.classes:
        present = one.asked.labels.unique()
        chosen = present[torch.linspace(0, len(present) - 1, min(_QUERIES, len(present))).long()]
        queries = torch.stack([order[one.asked.labels[order] == label][0] for label in chosen])
    else:
        queries = order[:_QUERIES]
    similarity, found = one.nearest(queries, _NEIGHBORS)
    k = found.size(1)
    asked, bank = one.asked.pictures(queries), one.bank.pictures(found.flatten())
    rows = []
    for n, query in enumerate(queries.tolist()):
        row = [_cell(one, one.asked, query, asked[n], "query", "" if one.classes else "query")]
        for m, hit in enumerate(found[n].tolist()):
            right = bool(one.bank.labels[hit] == one.asked.labels[query])
            kind = "neighbor" if not one.classes else "right" if right else "wrong"
            row.append(_cell(one, one.bank, hit, bank[n * k + m], kind, f"{float(similarity[n, m]):.2f}"))
        rows.append(row)
    return table(_said(one, len(queries), k), ["query", *map(str, range(1, k + 1))], rows, "neighbors")


def _said(one: Shown, count: int, k: int) -> str:
    measure = "with the cosine similarity of the features."
    if not one.classes:
        return (
            f"{count} training {one.kind} drawn at random and the {k} nearest to each among {len(one.bank):,} training "
            f"{one.kind}, {measure}"
        )
    whole = one.split == "whole"
    asked = f"{one.kind.capitalize()} of the {'data set' if whole else f'{one.split} split'}"
    among = f"all {len(one.bank):,}" if whole else f"{len(one.bank):,} training {one.kind}"
    return (
        f"{asked}, one drawn at random from each of {count} classes, and their {k} nearest among {among}, {measure} "
        "✗ and a dashed frame: another class than the query’s."
    )


def _cell(one: Shown, samples: Samples, i: int, picture: torch.Tensor, kind: str, under: str) -> str:
    name = samples.names[i]
    if not one.classes:
        return image(picture.numpy(), f"{kind}, {name}", kind, name) + f"<small>{under}</small>"
    label = one.classes[int(samples.labels[i])]
    said = f"query of class {label}" if kind == "query" else f"{label}, {kind} class"
    mark = "✗ " if kind == "wrong" else ""
    return (
        image(picture.numpy(), said, kind, name)
        + f'<span class="{kind}">{mark}{escape(label)}</span><small>{under}</small>'
    )
