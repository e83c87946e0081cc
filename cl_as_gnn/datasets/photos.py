"""Image files of any size as the splits of a data set, in memory or read by the batch."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets.files import common_sides, image_files
from cl_as_gnn.datasets.images import Parts, Rows, Split
from cl_as_gnn.datasets.store import FileStore, stacked
from cl_as_gnn.errors import ConfigError

MIXED_SIDE = 64
"""Side of the views in pixels if the images have many sizes and the config names none."""
_CHUNK = 256


def sides(config: PhotoConfig, paths: list[str]) -> tuple[int, int]:
    """The side S of the views, and the side P ≤ 2 S to which whole pictures are resized."""
    same, longest = common_sides(paths)
    side = config.image_size or (same if same and 4 <= same <= 512 else MIXED_SIDE)
    return side, min(2 * side, same or max(side, longest))


def read_photos(
    config: PhotoConfig,
    files: list[str],
    labels: Tensor,
    splits: dict[str, Tensor],
    classes: tuple[str, ...],
    source: str,
    notes: tuple[str, ...],
    progress: bool,
) -> Parts:
    """Read the files of a folder: into memory if they fit into ``config.memory``, else by the batch.

    Args:
        config: names the folder.
        files: paths within it.
        labels: of the files, −1 where unknown.
        splits: the files of ``train``, and of ``validation``, ``test`` and ``unlabeled`` where there are any.
        classes: names of the labels.
        source: where the labels come from.
        notes: more lines to print.
        progress: show a bar on stderr.
    """
    assert config.root is not None
    side, stored = sides(config, [os.path.join(config.root, file) for file in files])
    store = FileStore(config.root, files, stored, max_broken=config.max_broken)
    size = len(files) * 3 * stored**2 / 1e9
    line = f"{len(files):,} images, {source}, views of {side} px"
    if size > config.memory:
        read = {
            name: Split(Rows(store, at), labels[at], tuple(files[i] for i in at.tolist()))
            for name, at in splits.items()
        }
        line += f"; {size:.1f} GB decoded are above data.memory={config.memory:g}: read by the batch"
    else:
        read = _in_memory(store, labels, splits, progress)
    if count := len(store.broken):
        line += f"; {count} broken file{'s' * (count > 1)} left out (broken.txt)"
    if not len(read["train"]):
        raise ConfigError(f"data.root={config.root} holds no image that can be trained on: add some")
    empty = read["train"].take(torch.arange(0))
    broken = tuple(sorted(f"{files[i]}: {why}" for i, why in store.broken.items()))
    return Parts(
        classes,
        read["train"],
        read.get("test", empty),
        read.get("validation", None if classes else empty),
        read.get("unlabeled"),
        side,
        (line, *notes),
        broken,
    )


def read_images(folder: Path | str, channels: int, side: int, max_broken: float = 1.0) -> Split:
    """All images under a folder without labels, read by the batch; ConfigError if there are none."""
    files = image_files(folder)
    _, stored = sides(PhotoConfig(name="folder", image_size=side), [os.path.join(folder, file) for file in files])
    rows = Rows(FileStore(folder, files, stored, channels, max_broken), torch.arange(len(files)))
    return Split(rows, torch.full((len(files),), -1), files)


def _in_memory(store: FileStore, labels: Tensor, splits: dict[str, Tensor], progress: bool) -> dict[str, Split]:
    """Decode every split, without the files that are broken."""
    stderr = Console(stderr=True)
    chunks = ((name, part) for name, at in splits.items() for part in at.split(_CHUNK))
    count = sum(-(-len(at) // _CHUNK) for at in splits.values())
    bar = track(chunks, "Decoding images", count, console=stderr, transient=True, disable=not progress)
    pixels = {name: torch.empty(len(at), *store.shape[1:], dtype=torch.uint8) for name, at in splits.items()}
    aspect = {name: torch.empty(len(at)) for name, at in splits.items()}
    kept: dict[str, list[Tensor]] = {name: [] for name in splits}
    filled = dict.fromkeys(splits, 0)
    for name, part in bar:
        images = store.decode(part.tolist())
        good = [image for image in images if not isinstance(image, str)]
        kept[name].append(part[torch.tensor([not isinstance(image, str) for image in images])])
        here = slice(filled[name], filled[name] + len(good))
        pixels[name][here], aspect[name][here] = stacked(good, store.shape)
        filled[name] += len(good)
    square = all(bool((aspect[name][: filled[name]] == 1).all()) for name in splits)
    out = {}
    for name, parts in kept.items():
        at = torch.cat(parts) if parts else splits[name]
        wide = None if square else aspect[name][: len(at)]
        out[name] = Split(pixels[name][: len(at)], labels[at], tuple(store.names[i] for i in at.tolist()), wide)
    return out
