"""Images with training, validation and test splits independent of the training seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cl_as_gnn.datasets.resize import center_square
from cl_as_gnn.datasets.store import DecodedStore, Store
from cl_as_gnn.errors import ConfigError

TEST_SHARE = 0.25
_LISTED = 30  # names of classes in a message
WINDOW = 8
"""Chunks among which samples are shuffled, where a store has chunks."""


@dataclass(frozen=True)
class Rows:
    """Images that are read by the batch: those of a store at the positions ``index`` ``(N,)``."""

    store: Store
    index: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.index), *self.store.shape[1:])


@dataclass(frozen=True)
class Split:
    """Whole pictures, resized to squares, with their labels.

    Attributes:
        images: uint8 ``(N, C, P, P)`` in memory, or :class:`Rows` that are read by the batch.
        labels: int64 ``(N,)``, −1 where unknown.
        files: the paths of their files within the folder of the data set, if they have any.
        aspect: width / height of the pictures in memory ``(N,)``; ``None`` if all are squares.
    """

    images: Tensor | Rows
    labels: Tensor
    files: Sequence[str] = ()
    aspect: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        """The images and labels at the given positions, in that order."""
        if isinstance(self.images, Rows):
            images: Tensor | Rows = Rows(self.images.store, self.images.index[index])
        else:
            images = self.images[index]
        files = tuple(self.files[i] for i in index.tolist()) if len(self.files) else ()
        return Split(images, self.labels[index], files, None if self.aspect is None else self.aspect[index])

    def joined(self, other: Split) -> Split:
        """These images and then the others."""
        if not len(other):
            return self
        labels, files = torch.cat([self.labels, other.labels]), (*self.files, *other.files)
        if isinstance(self.images, Rows):
            assert isinstance(other.images, Rows)
            assert self.images.store is other.images.store
            return Split(Rows(self.images.store, torch.cat([self.images.index, other.images.index])), labels, files)
        assert isinstance(other.images, Tensor)
        aspect = None
        if self.aspect is not None or other.aspect is not None:
            one = torch.ones(1)
            aspect = torch.cat([one.expand(len(s)) if s.aspect is None else s.aspect for s in (self, other)])
        return Split(torch.cat([self.images, other.images]), labels, files, aspect)

    def read(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images at some positions, uint8 ``(n, C, P, P)``, and their width / height ``(n,)``."""
        if isinstance(self.images, Rows):
            return self.images.store.fetch(self.images.index[index.cpu()])
        return self.images[index], None if self.aspect is None else self.aspect[index]

    def order(self, generator: torch.Generator) -> Tensor:
        """A shuffle of the positions, the same for the same state of the generator.

        Where the store has chunks, these are shuffled, and then the images within each ``WINDOW`` of them, so that a
        chunk is read once an epoch.
        """
        shuffle = torch.randperm(len(self), generator=generator)
        if not isinstance(self.images, Rows) or self.images.store.chunk_ends is None:
            return shuffle
        ends = self.images.store.chunk_ends
        place = torch.randperm(len(ends), generator=generator)
        chunk = torch.searchsorted(ends, self.images.index[shuffle], right=True)
        return shuffle[(place[chunk] // WINDOW).argsort(stable=True)]

    def squares(self, index: Tensor, side: int) -> Tensor:
        """Center squares of the pictures at some positions, uint8 ``(n, C, side, side)``."""
        return center_square(*self.read(index), side)

    def thumbnails(self, index: Tensor) -> Tensor:
        """Center squares to look at, at most 96 px wide."""
        return self.squares(index, min(96, self.images.shape[-1]))

    def batches(self, side: int, index: Tensor | None = None) -> Iterator[Tensor]:
        """Center squares of the pictures at some positions, or of all, in order, :func:`at_once` at a time."""
        index = torch.arange(len(self)) if index is None else index
        for part in index.split(at_once(side)):
            yield self.squares(part, side)

    def broken(self) -> dict[str, str]:
        """The files that were found broken so far, with the reason."""
        store = self.images.store if isinstance(self.images, Rows) else None
        return {store.names[i]: why for i, why in store.broken.items()} if isinstance(store, DecodedStore) else {}

    def readable(self) -> Tensor:
        """Positions of the images that were not found broken so far, ascending."""
        if not isinstance(self.images, Rows) or not isinstance(self.images.store, DecodedStore):
            return torch.arange(len(self))
        broken = torch.tensor(sorted(self.images.store.broken), dtype=torch.long)
        return (~torch.isin(self.images.index, broken)).nonzero().view(-1)


@dataclass(frozen=True)
class ImageData:
    """A data set; labels index ``classes``, which is empty if no image has a label.

    Attributes:
        side: the side of the views and of the encoder's input, in pixels; ``None``: that of the images.
        notes: lines that say what was read.
        broken: files that were left out, with the reason.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    side: int | None = None
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Side of the views and of the encoder's input, in pixels."""
        return self.side or self.train.images.shape[-1]

    def restricted(self, wanted: Sequence[str]) -> ImageData:
        """The images of some classes alone, whose labels then index these; images without a label are left out.

        ConfigError as of :func:`chosen_classes`.
        """
        kept: tuple[str, ...] = self.classes
        splits: list[Split] = []
        for name in ("train", "validation", "test"):
            split: Split = getattr(self, name)
            kept, labels = chosen_classes(split.labels, self.classes, wanted)
            at = (labels >= 0).nonzero().view(-1)
            splits.append(replace(split if len(at) == len(split) else split.take(at), labels=labels[at]))
        train, validation, test = splits
        count = len(train) + len(validation) + len(test)
        if kept == self.classes and count == len(self.train) + len(self.validation) + len(self.test):
            return self
        note = f"{count:,} images of {len(kept)} of the {len(self.classes)} classes"
        notes = (*self.notes, note)
        return replace(self, classes=kept, train=train, validation=validation, test=test, notes=notes)

    def pooled(self) -> ImageData:
        """The same data with the validation images put back among the training images."""
        none = self.validation.take(torch.arange(0))
        return replace(self, train=self.train.joined(self.validation), validation=none)


class Parts(NamedTuple):
    """What a data set holds: the names of its classes, and its splits."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None
    """A share of the labeled training images if not given."""
    unlabeled: Split | None = None
    """More training images, without labels."""
    side: int | None = None
    """Side of the views; that of the images if not given."""
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """All images of a source, before test and validation images are drawn from them.

    Attributes:
        sizes: number of images of ``train``, and of ``validation``, ``test`` and ``unlabeled`` where there are any; the
            images lie in this order.
        labels: int64 ``(N,)``, −1 where unknown.
        classes: names of the labels; without any, all training images are unlabeled.
        source: where the labels come from, in words.
        notes: lines that say what was read.
    """

    sizes: dict[str, int]
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> dict[str, Tensor]:
        """The positions of each split."""
        at = torch.arange(len(self.labels)).split(list(self.sizes.values()))
        return dict(zip(self.sizes, at, strict=True))


def chosen_classes(labels: Tensor, known: tuple[str, ...], wanted: Sequence[str]) -> tuple[tuple[str, ...], Tensor]:
    """Choose classes by their names.

    Args:
        labels: ``(N,)``, of which −1 is unknown.
        known: the names of the labels.
        wanted: some of them, in any order.

    Returns:
        The chosen names, in the order of ``known``, and labels ``(N,)`` that index them, −1 for all other images.

    Raises:
        ConfigError: there are no classes, or a name is not one of them.
    """
    given = f"data.classes=[{', '.join(wanted)}]"
    if not known:
        raise ConfigError(f"{given} expects labels, and the images have none: drop it, or lay them out as <class>/*")
    if absent := [name for name in wanted if name not in known]:
        listed = ", ".join(known[:_LISTED]) + f", … ({len(known):,} in all)" * (len(known) > _LISTED)
        raise ConfigError(f"{given}: there is no class {absent[0]!r}, there are {listed}")
    chosen = [i for i, name in enumerate(known) if name in wanted]
    number = torch.full((len(known) + 1,), -1)
    number[chosen] = torch.arange(len(chosen))
    return tuple(known[i] for i in chosen), number[labels]


def at_once(side: int) -> int:
    """Images of a side in pixels that are encoded at a time: 512 up to 96 px, and fewer of larger ones."""
    return max(1, min(512, 512 * 96**2 // side**2))


def evenly(count: int, size: int) -> Tensor:
    """At most ``count`` indices, evenly spread over ``size`` samples that may be sorted by class."""
    return torch.linspace(0, size - 1, min(count, size)).long()


def stratified(
    labels: Tensor, share: float, classes: tuple[str, ...], purpose: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw a ``share`` of each class, the same for the same seed: positions ``(rest, share)``.

    ConfigError if scikit-learn cannot: it needs two images of each class, and room for every class in both parts.
    """
    counts = torch.bincount(labels, minlength=len(classes))
    least = int(counts.argmin())
    if counts[least] < 2 or not len(classes) <= int(np.ceil(share * len(labels))) <= len(labels) - len(classes):
        cure = "set data.validation=0" if purpose.startswith("data.validation") else "lay out train/ and test/"
        raise ConfigError(
            f"{purpose} cannot be split off {len(labels)} images of {len(classes)} classes (the smallest, "
            f"{classes[least]!r}, has {int(counts[least])}): add images, or {cure}"
        )
    from sklearn.model_selection import train_test_split

    kept, parted = train_test_split(np.arange(len(labels)), test_size=share, random_state=seed, stratify=labels)
    return torch.from_numpy(kept), torch.from_numpy(parted)


def split_off(split: Split, share: float, classes: tuple[str, ...], purpose: str, seed: int) -> tuple[Split, Split]:
    """Split off a ``share`` of each class as :func:`stratified` does: ``(rest, share)``."""
    kept, parted = stratified(split.labels, share, classes, purpose, seed)
    return split.take(kept), split.take(parted)
