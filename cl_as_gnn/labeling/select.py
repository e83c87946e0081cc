"""Which images to label first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.knn import nearest
from cl_as_gnn.labeling.embedded import embedded, write_rows
from cl_as_gnn.labeling.sheet import write_sheet
from cl_as_gnn.runs.folder import check_out

_NEAR = 20


class Typical(NamedTuple):
    """Chosen rows, and the size of the cluster that each stands for."""

    rows: list[int]
    sizes: list[int]


def typical(x: Tensor, budget: int, labeled: Tensor | None = None, seed: int = 0) -> Typical:
    r"""Choose rows that are typical and spread over the data, `TypiClust <https://arxiv.org/abs/2202.02794>`_.

    k-means splits the rows into as many clusters as there will be labels. Of each of the largest clusters without a
    label the row of largest typicality is taken,

    .. math::
        t_i = \Big( \frac1k \sum_{j \in \mathcal{N}_k(i)} \lVert x_i - x_j \rVert \Big)^{-1},

    with the k = 20 nearest rows, as far as there are so many (Hacohen et al., ICML 2022).

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
    cluster = _clusters(x, len(x) - free + budget, seed)
    distance = (2 - 2 * nearest(x, min(_NEAR, len(x) - 1))[0]).clamp(min=0).sqrt().mean(1)
    sizes = torch.bincount(cluster)
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
    """The cluster of each row ``(n,)``, by k-means."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct rows than clusters
        means = MiniBatchKMeans(count, batch_size=4096, n_init=3, random_state=seed)
        return torch.from_numpy(means.fit_predict(x.double().numpy()).astype(np.int64))


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
    console.print(f"fill in the labels, then: clgnn label {path} {out}", style="dim", soft_wrap=True, markup=False)
