"""Pictures of any size as the splits of a data set, in memory or read by the batch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cl_as_gnn.compat import tracked
from cl_as_gnn.config import PhotoConfig
from cl_as_gnn.datasets.files import image_files
from cl_as_gnn.datasets.images import TEST_SHARE, Catalog, Parts, Rows, Split, chosen_classes, stratified
from cl_as_gnn.datasets.kept import kept_decoded
from cl_as_gnn.datasets.packed import PackedStore, cached
from cl_as_gnn.datasets.store import DecodedStore, FileStore
from cl_as_gnn.errors import ConfigError

MIXED_SIDE = 64
"""Side of the views in pixels if the images have many sizes and the config names none."""
_CHUNK = 256


def keep_whole(store: DecodedStore, image_size: int | None) -> int:
    """Choose the side S of the views and let the store keep whole pictures at P ≤ 2 S px; returns S."""
    same, longest = store.sides()
    side = image_size or (same if same and 4 <= same <= 512 else MIXED_SIDE)
    store.keep(min(2 * side, same or max(side, longest)))
    return side


def read_photos(config: PhotoConfig, store: DecodedStore, catalog: Catalog, progress: bool) -> Parts:
    """Read the images of a store: into memory if they fit into ``config.memory``, else by the batch.

    Args:
        config: the settings of the data set.
        store: all images.
        catalog: their labels and splits.
        progress: show a bar on stderr.
    """
    side, root = keep_whole(store, config.image_size), config.root
    packed = store if isinstance(store, PackedStore) else None
    if config.cache is not None:
        if packed is not None:
            raise ConfigError(f"data.root={root} is packed already: drop data.cache={config.cache}")
        store = packed = cached(store, catalog, side, config.cache, root)
    elif packed is None:
        store = kept_decoded(store, catalog, side, root)
        packed = store if isinstance(store, PackedStore) else None
    store.check_broken()
    labels, classes, where, notes = catalog.labels, catalog.classes, catalog.where, list(catalog.notes)
    if config.classes is not None:  # before any other is decoded
        classes, labels = chosen_classes(labels, classes, config.classes)
        where = {name: at[labels[at] >= 0] for name, at in where.items()}
    splits = splits_of(where, labels, classes, config.split_seed, notes)
    count, (_, channels, stored, _) = sum(map(len, where.values())), store.shape
    size = count * channels * stored**2 / 1e9
    source = f" ({catalog.source})" if catalog.source else ""
    chosen = f"{len(classes)} of {len(catalog.classes)}" if config.classes is not None else f"{len(classes)}"
    kind = f"{chosen} classes{source}" if classes else "no labels"
    line = f"{count:,} images, {kind}, views of {side} px"
    if packed is not None:
        done = len(store) - len(packed.missing)
        line += f"; {done:,} images are decoded in {packed.folder}" + ", the others will be" * (done < len(store))
    if size > config.memory:
        read = {
            name: Split(Rows(store, at), labels[at], tuple(store.names[i] for i in at.tolist()))
            for name, at in splits.items()
        }
        line += f"; {size:.1f} GB decoded are above data.memory={config.memory:g}: read by the batch"
        line += " (data.cache=FOLDER keeps them decoded)" * (packed is None)
    else:
        read = _in_memory(store, labels, splits, progress)
    if missing := len(store.broken):
        line += f"; {missing} broken file{'s' * (missing > 1)} left out (broken.txt)"
    if not len(read["train"]):
        raise ConfigError(f"data.root={root} holds no image that can be trained on: add some")
    empty = read["train"].take(torch.arange(0))
    broken = tuple(sorted(f"{store.names[i]}: {why}" for i, why in store.broken.items()))
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


def splits_of(
    where: dict[str, Tensor], y: Tensor, classes: tuple[str, ...], seed: int, notes: list[str]
) -> dict[str, Tensor]:
    """Positions of each split: training images without a label apart, a quarter of the others as a missing test set.

    Args:
        where: positions of ``train``, and of ``validation``, ``test`` and ``unlabeled`` where there are any.
        y: labels of all images, −1 where unknown.
        classes: names of the labels; without any, all training images are unlabeled.
        seed: of the test set, if it is drawn.
        notes: gets a line on each surprise.
    """
    bare = torch.cat([at[y[at] < 0] for name, at in where.items() if name in ("train", "unlabeled")])
    splits = {name: at[y[at] >= 0] for name, at in where.items() if name != "unlabeled"}
    left = {name: len(where[name]) - len(at) for name, at in splits.items() if name != "train"}
    notes += [f"{count:,} {name} images without a label are left out" for name, count in left.items() if count]
    if not classes:
        return {"train": bare}
    if "test" not in splits:
        train = splits["train"]
        try:
            kept, drawn = stratified(y[train], TEST_SHARE, classes, "a test set of one quarter", seed)
        except ConfigError as error:
            notes.append(f"nothing is scored: {error}")
        else:
            splits |= {"test": train[drawn], "train": train[kept]}
    return splits | ({"unlabeled": bare} if len(bare) else {})


def read_images(folder: Path | str, channels: int, side: int, stored: int | None = None) -> Split:
    """All images under a folder without labels, read by the batch, as a run has read its own.

    Args:
        folder: of the images; broken ones are replaced by the next.
        channels: 1 for gray, 3 for RGB.
        side: S of the run.
        stored: P of the run, to which it resized whole pictures; S or ``None``: center squares are resized to S.

    Raises:
        ConfigError: there is no such folder, or no image in it.
    """
    files = image_files(folder)
    store: DecodedStore = FileStore(folder, files, channels, max_broken=1.0)
    store.keep(stored or side, center=stored in (None, side))
    unknown = torch.full((len(files),), -1)
    store = kept_decoded(store, Catalog({"train": len(files)}, unknown, (), "no labels"), side, Path(folder))
    return Split(Rows(store, torch.arange(len(files))), unknown, files)


def _in_memory(store: DecodedStore, labels: Tensor, splits: dict[str, Tensor], progress: bool) -> dict[str, Split]:
    """Decode every split, without the files that are broken."""
    chunks = ((name, part) for name, at in splits.items() for part in at.split(_CHUNK))
    count = sum(-(-len(at) // _CHUNK) for at in splits.values())
    bar = tracked(chunks, "Decoding images", count, progress)
    pixels = {name: torch.empty(len(at), *store.shape[1:], dtype=torch.uint8) for name, at in splits.items()}
    aspect = {name: torch.empty(len(at)) for name, at in splits.items()}
    kept: dict[str, list[Tensor]] = {name: [] for name in splits}
    filled = dict.fromkeys(splits, 0)
    for name, part in bar:
        images, wide, good = store.decode(part)
        kept[name].append(part[good])
        here = slice(filled[name], filled[name] + int(good.sum()))
        pixels[name][here], aspect[name][here] = images[good], wide[good]
        filled[name] = here.stop
    square = all(bool((aspect[name][: filled[name]] == 1).all()) for name in splits)
    out = {}
    for name, parts in kept.items():
        at = torch.cat(parts) if parts else splits[name]
        sides = None if square else aspect[name][: len(at)]
        out[name] = Split(pixels[name][: len(at)], labels[at], tuple(store.names[i] for i in at.tolist()), sides)
    return out
