"""The images of a run, or of another folder, with their features."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from cl_as_gnn.datasets import Split
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.nn.unit import unit_rows
from cl_as_gnn.runs.folder import open_run, replaced
from cl_as_gnn.runs.load import embed_folder, load_encoder
from cl_as_gnn.runs.process import pick_device
from cl_as_gnn.tasks import load_task
from cl_as_gnn.tasks.images import ImageTask

Rows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Embedded:
    """Images with unit features.

    Attributes:
        x: features ``(n, d)``, rows of length 1.
        files: their names, as in ``labels.csv``: paths in the folder of the images, or ``<split>/<row>`` where a data
            set has no files.
        places: the split of each part of the rows, and the positions in it.
        source: where the images are from.
    """

    x: Tensor
    files: tuple[str, ...]
    places: tuple[tuple[Split, Tensor], ...]
    source: str

    def __len__(self) -> int:
        return len(self.x)

    def thumbnail(self, row: int) -> Tensor:
        """The picture of a row, uint8 ``(C, s, s)``."""
        for split, at in self.places:
            if row < len(at):
                return split.thumbnails(at[row : row + 1])[0]
            row -= len(at)
        raise IndexError(row)


def embedded(path: Path, images: Path | None, console: Console) -> Embedded:
    """Encode the images of a finished run, or those of a folder, by its encoder in eval mode.

    Raises:
        ConfigError: the run has not finished, it is on graphs, or there are fewer than two images.
    """
    run = open_run(path)
    config = run.load_config()
    device = pick_device(config.trainer)
    encoder = load_encoder(run).to(device)
    if images is not None:
        split, x = embed_folder(run, encoder, images, device)
        at = split.readable()
        files: list[str] = [split.files[i] for i in at.tolist()]
        for name, why in split.broken().items():
            console.print(f"left out {name}: {why}", soft_wrap=True, markup=False)
        places = [(split, at)]
    else:
        task = load_task(config, console.is_terminal)
        if not isinstance(task, ImageTask):
            raise ConfigError(f"{path} was trained on a graph: images are labeled by the run of an encoder of images")
        with console.status("encoding"):
            features = task.features(encoder, device)
        parts, files, places = [], [], []
        for name in ("train", "validation", "test"):
            split = getattr(task.data, name)
            if len(split):
                at = split.readable()
                parts.append(features[name])
                places.append((split, at))
                files += [split.files[i] if len(split.files) else f"{name}/{i}" for i in at.tolist()]
        x = torch.cat(parts)
    if len(x) < 2:
        raise ConfigError(f"{images or path} has {len(x)} image: labels spread from image to image, give at least two")
    source = str(images or getattr(config.data, "root", None) or config.data.name)
    return Embedded(unit_rows(x), tuple(files), tuple(places), source)


def write_rows(path: Path, head: Sequence[str], rows: Rows) -> None:
    """Write a CSV table; RunError if it cannot be written."""
    try:
        with replaced(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            writer.writerows(rows)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None
