"""Query images and the training images with the nearest features, as tables."""

from __future__ import annotations

from html import escape

import torch
from torch import Tensor

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import Split
from cl_as_gnn.report.markup import image_uri, table

_QUERIES, _NEIGHBORS = 8, 5


def neighbors(x: Tensor, test: Split, keys: Tensor, bank: Split, classes: tuple[str, ...], config: RunConfig) -> str:
    """Return a table: test images of several classes with features ``x``, their nearest in ``bank`` with ``keys``."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(config.seed))
    present = test.labels.unique()
    chosen = present[torch.linspace(0, len(present) - 1, min(_QUERIES, len(present))).long()]
    queries = [int(order[test.labels[order] == label][0]) for label in chosen]
    k = min(_NEIGHBORS, len(bank))
    similarity, found = (x[queries] @ keys.T).topk(k)
    rows = []
    for query, values, hits in zip(queries, similarity.tolist(), found.tolist(), strict=True):
        row = [_picture(test, query, classes, "query")]
        for value, hit in zip(values, hits, strict=True):
            right = bool(bank.labels[hit] == test.labels[query])
            row.append(_picture(bank, hit, classes, "right" if right else "wrong", f"{value:.2f}"))
        rows.append(row)
    said = (
        f"Images of the {config.eval.split} split, one drawn at random from each of {len(queries)} classes, and their "
        f"{k} nearest among {len(bank):,} training images, with the cosine similarity of the features. "
        "✗ and a dashed frame: another class than the query’s."
    )
    return table(said, ["query", *map(str, range(1, k + 1))], rows, "neighbors")


def unlabeled_neighbors(keys: Tensor, bank: Split, config: RunConfig) -> str:
    """Return a table: training images drawn at random and their nearest among the others."""
    order = torch.randperm(len(bank), generator=torch.Generator().manual_seed(config.seed))
    queries = order[:_QUERIES]
    similarity = keys[queries] @ keys.T
    k = min(_NEIGHBORS, len(bank) - 1)
    values, found = similarity.scatter(1, queries[:, None], -2).topk(k)  # an image is no neighbor of its own
    rows = []
    for query, near, hits in zip(queries.tolist(), values.tolist(), found.tolist(), strict=True):
        cells = [_bare_picture(bank, hit, "neighbor", f"{value:.2f}") for value, hit in zip(near, hits, strict=True)]
        rows.append([_bare_picture(bank, query, "query", "query"), *cells])
    said = (
        f"{len(queries)} training images drawn at random and the {k} nearest to each among {len(bank):,} training "
        "images, with the cosine similarity of the features."
    )
    return table(said, ["query", *map(str, range(1, k + 1))], rows, "neighbors")


def _bare_picture(split: Split, i: int, kind: str, under: str) -> str:
    name = escape(split.files[i]) if split.files else f"training image {i}"
    source = image_uri(split.thumbnails(torch.tensor([i]))[0].numpy())
    return f'<img class="{kind}" alt="{kind}, {name}" title="{name}" src="{source}"/><small>{under}</small>'


def _picture(split: Split, i: int, classes: tuple[str, ...], kind: str, value: str = "") -> str:
    name = escape(classes[int(split.labels[i])])
    mark = "✗ " if kind == "wrong" else ""
    alt = f"query of class {name}" if kind == "query" else f"{name}, {kind} class"
    source = image_uri(split.thumbnails(torch.tensor([i]))[0].numpy())
    return (
        f'<img class="{kind}" alt="{alt}" src="{source}"/>'
        f'<span class="{kind}">{mark}{name}</span><small>{value}</small>'
    )
