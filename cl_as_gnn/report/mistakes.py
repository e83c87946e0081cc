"""What a run gets wrong: the confusion of its classes, and the errors of which it is surest."""

from __future__ import annotations

from html import escape

import torch

from cl_as_gnn.report.markup import image, table
from cl_as_gnn.report.shown import Shown

_TABLE, _PAIRS, _WORST, _VOTERS = 25, 15, 12, 5


def _of(one: Shown) -> str:
    count = f"{len(one.asked):,} of the {one.scored:,}" if len(one.asked) < one.scored else f"the {one.scored:,}"
    return f"{count} scored {one.kind}"


def confusion(one: Shown) -> str:
    """Return a table of true classes by predicted ones, of many classes a list of the most frequent errors."""
    predicted, labels, classes = one.votes.argmax(1), one.asked.labels, one.classes
    size = len(classes)
    counts = torch.bincount(labels * size + predicted, minlength=size**2).view(size, size)
    right = int(counts.diagonal().sum())
    said = (
        f"kNN, k = {one.task.config.eval.knn_k}, on {_of(one)}: {right:,} right, {len(labels) - right:,} wrong "
        f"({100 * right / len(labels):.1f} %)."
    )
    if size > _TABLE:
        wrong = counts.clone().fill_diagonal_(0).flatten()
        values, at = wrong.topk(min(_PAIRS, size**2))
        pairs = [(i // size, i % size, n) for i, n in zip(at.tolist(), values.tolist(), strict=True) if n]
        rows = [[escape(classes[a]), escape(classes[b]), str(n), f"{int(counts[a].sum())}"] for a, b, n in pairs]
        said += f" The most frequent of the errors between {size} classes:"
        return table(said, ["class", "taken for", "times", "of"], rows)
    rows = []
    for name, row in zip(classes, counts.tolist(), strict=True):
        total = max(1, sum(row))
        cells = []
        for other, value in zip(classes, row, strict=True):
            shade = "accent" if other == name else "wrong"
            deep = 0 if not value else round(10 + 50 * value / total)
            style = f"background:color-mix(in srgb,var(--{shade}) {deep}%,transparent)"
            cells.append(f'<div style="{style}" title="{escape(f"{name} taken for {other}")}">{value or "·"}</div>')
        rows.append([escape(name), *cells])
    kind = "confusion" + " long" * (max(map(len, classes)) > 3)
    grid = table("Rows are true classes, columns predicted ones.", ["", *classes], rows, kind)
    return f'<p class="soft">{escape(said)}</p>{grid}'


def worst(one: Shown) -> str:
    """Return pictures of the errors with the largest share of the votes, with the nearest that voted."""
    sure, predicted = one.votes.max(1)
    wrong = (predicted != one.asked.labels).nonzero().view(-1)
    if not len(wrong):
        return f"<p>None: the nearest neighbors are right on {_of(one)}.</p>"
    chosen = wrong[sure[wrong].argsort(descending=True, stable=True)][:_WORST]
    near = one.nearest(chosen, _VOTERS)[1]
    pictures, voters = one.asked.pictures(chosen), one.bank.pictures(near.flatten())
    figures = []
    for n, i in enumerate(chosen.tolist()):
        truth, said = one.classes[int(one.asked.labels[i])], one.classes[int(predicted[i])]
        name = one.asked.names[i]
        large = image(pictures[n].numpy(), f"{name}, of class {truth}, taken for {said}", "large", name)
        small = "".join(
            image(voters[n * near.size(1) + m].numpy(), f"neighbor of class {one.classes[int(one.bank.labels[j])]}")
            for m, j in enumerate(near[n].tolist())
        )
        figures.append(
            f'<figure>{large}<div class="near">{small}</div><figcaption><b>{escape(truth)}</b> taken for '
            f'<b class="wrong">{escape(said)}</b><br/>{100 * float(sure[i]):.0f} % of the votes<br/>'
            f"<small>{escape(name)}</small></figcaption></figure>"
        )
    said = (
        f"{len(wrong):,} of {len(sure):,} are wrong. These have the largest share of the votes for a wrong class; "
        f"below each the {near.size(1)} nearest {one.kind} with a label, which decide most."
    )
    return f'<p class="soft">{said}</p><div class="errors">{"".join(figures)}</div>'
