"""Which images to label first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from sklearn.cluster import KMeans
from torch import Tensor

from cl_as_gnn.errors import ConfigError, quoted
from cl_as_gnn.labeling.embedded import embedded, write_rows
from cl_as_gnn.labeling.sheet import write_sheet
from cl_as_gnn.runs.folder import check_out

_FITTED = 20_000


class Typical(NamedTuple):
    """Chosen rows, and the size of the cluster that each stands for."""

    rows: list[int]
    sizes: list[int]


def typical(x: Tensor, budget: int, labeled: Tensor | None = None, seed: int = 0) -> Typical:
    r"""Choose rows that are typical and spread over the data.

    The mean row is taken from all rows, which are scaled to unit length again: a direction that all features share, as
    those of weak encoders do, says nothing about any. k-means splits them into as many clusters as there will be
    labels. Of each of the largest clusters without a label the row nearest to the center by cosine is taken,

    .. math::
        \arg\max_{i \in C} \; x_i^\top \sum_{j \in C} x_j .

    The scheme of clusters is that of `TypiClust <https://arxiv.org/abs/2202.02794>`_ (Hacohen et al., ICML 2022), which
    takes the row with the nearest neighbors instead.

    Args:
        x: unit features ``(n, d)``.
        budget: number of rows to choose.
        labeled: rows that have a label already.
        seed: of k-means.

    Returns:
        The rows, those of the largest clusters first.

    Raises:
        ConfigError: ``budget`` exceeds the number of rows without a label.
    """
    taken = torch.zeros(len(x), dtype=torch.bool)
    if labeled is not None:
        taken[labeled] = True
    free = len(x) - int(taken.sum())
    if not 1 <= budget <= free:
        raise ConfigError(f"budget={budget}: choose from 1 to {free:,}, the number of images without a label")
    if budget == free:
        rows = (~taken).nonzero().view(-1).tolist()
        return Typical(rows, [1] * len(rows))
    x = F.normalize(x - x.mean(0), dim=1)
    cluster = _clusters(x, len(x) - free + budget, seed)
    sizes = torch.bincount(cluster)
    center = x.new_zeros(len(sizes), x.size(1)).index_add_(0, cluster, x)
    distance = -(x * center[cluster]).sum(1)
    covered = torch.bincount(cluster[taken], minlength=len(sizes))
    rows, stands = [], []
    distance = distance.masked_fill(taken, torch.inf)
    for _ in range(budget):
        # The largest of the clusters with the fewest labels, as long as it has rows left.
        left = torch.bincount(cluster[distance.isfinite()], minlength=len(sizes)) > 0
        order = torch.where(left, covered * (len(x) + 1) - sizes, torch.iinfo(torch.int64).max)
        best = int(order.argmin())
        row = int(torch.where(cluster == best, distance, torch.inf).argmin())
        rows.append(row)
        stands.append(int(sizes[best]))
        distance[row] = torch.inf
        covered[best] += 1
    return Typical(rows, stands)


def _clusters(x: Tensor, count: int, seed: int) -> Tensor:
    """The cluster of each row ``(n,)``: k-means, fitted to at most ``_FITTED`` rows, or to 20 per cluster."""
    rows, draw = x.double().numpy(), np.random.default_rng(seed)
    size = min(len(rows), max(_FITTED, 20 * count))
    fitted = rows[draw.choice(len(rows), size, replace=False)] if size < len(rows) else rows
    starts = 10 if count <= 100 else 1  # many clusters depend less on where they start, and take longer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct rows than clusters
        means = KMeans(count, n_init=starts, random_state=seed).fit(fitted)
        return torch.from_numpy(means.predict(rows).astype(np.int64))


def select_images(
    path: Path, budget: int, out: Path, console: Console, images: Path | None = None, table: Path | None = None
) -> None:
    """Write the images that are worth labeling as a table to fill in, and a contact sheet of them beside it.

    Args:
        path: a finished run.
        budget: number of images.
        out: the ``.csv`` file, with the columns ``file`` and ``label``, which is empty; the sheet ends in ``.html``.
        console: for progress.
        images: choose from this folder instead of the images of the run.
        table: ``labels.csv`` of images that have labels already.

    Raises:
        ConfigError, RunError: a file or a number is wrong.
    """
    from cl_as_gnn.labeling.label import read_labels

    check_out(out, "a table is", ".csv")
    found = embedded(path, images, console)
    known = read_labels(table, found.files)[0] if table is not None else None
    labeled = None if known is None else (known >= 0).nonzero().view(-1)
    with console.status("choosing"):
        rows, sizes = typical(found.x, budget, labeled)
    write_rows(out, ["file", "label"], [[found.files[row], ""] for row in rows])
    captions = [[f"stands for {size:,}", found.files[row]] for row, size in zip(rows, sizes, strict=True)]
    sheet = out.with_suffix(".html")
    said = f"{budget} of {len(found):,} images of {found.source}, those that stand for the most first"
    write_sheet(sheet, "Images to label", said, [[found.thumbnail(row).numpy()] for row in rows], captions)
    console.print(f"{budget} of {len(found):,} images to label: {out}, pictures: {sheet}", soft_wrap=True, markup=False)
    console.print(
        f"fill in the labels, then: clgnn label {quoted(path)} {quoted(out)}", style="dim", soft_wrap=True, markup=False
    )
