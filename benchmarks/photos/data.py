"""Data and views: batches of two views each from photographs in files, from a cache of them, and by others.

A sample reads some batches of an endless shuffle; the first ones, which fill the queues, are not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.datasets.files import image_files
from cl_as_gnn.datasets.images import Catalog
from cl_as_gnn.datasets.packed import PackedStore, cached
from cl_as_gnn.datasets.store import FileStore, Store
from cl_as_gnn.training.module import prefetched

VIEWS, WORKERS = 2, 2
RECIPE = AugmentConfig(
    crop_scale=(0.08, 1), jitter=(0.8, 0.8, 0.8, 0.2), jitter_prob=0.8, grayscale=0.2, flip=0.5, blur=0.5
)
"""SimCLR's recipe for ImageNet, which LightlyTrain takes too."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Batches that queues hold when the clock starts do not show how fast they are filled.
SKIPPED = 2 * WORKERS + 1


@dataclass(frozen=True)
class Plan:
    """Sizes of a measurement.

    Args:
        folder: of ``class/photograph``.
        side: S of the views.
        batch: photographs of a batch.
        timed: batches of a sample.
        rounds: samples of each contender.
    """

    folder: Path
    side: int = 96
    batch: int = 128
    timed: int = 6
    rounds: int = 5


def repeated(source: Path, target: Path, entries: int) -> int:
    """Fill a folder with links to the photographs of another, again and again; returns how many there are."""
    names = image_files(source)
    for index in range(entries):
        name = names[index % len(names)]
        link = target / f"part{index % 20:02d}" / f"{index:06d}{Path(name).suffix.lower()}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / name).resolve())
    return len(names)


def passed(batches: Iterable[Any], skipped: int, count: int) -> float:
    """Photographs a second: ``count`` are in the batches after the first ``skipped``."""
    start = time.perf_counter()
    for index, _ in enumerate(batches):
        if index + 1 == skipped:
            start = time.perf_counter()
    return count / (time.perf_counter() - start)


class Ours:
    """Batches of a store as a run reads them: threads fetch the next two, ``threads`` draw the views."""

    def __init__(self, plan: Plan, store: Store, views: bool = True, threads: int = 1) -> None:
        self.plan, self.store, self.skipped, self.threads = plan, store, 2, threads
        self.views = BatchedViews(RECIPE, plan.side, 3, MEAN, STD) if views else None

    def __call__(self, index: Tensor) -> float:
        torch.set_num_threads(self.threads)
        return passed(self._batches(index), self.skipped, len(index) - self.skipped * self.plan.batch)

    def _batches(self, index: Tensor) -> Iterator[Tensor]:
        for _, images, aspect in prefetched(index.split(self.plan.batch), self.store.fetch):
            yield images if self.views is None else self.views(images, VIEWS, None, aspect)


class Filling(Ours):
    """The first epoch of a cache: rows that are not in it yet are decoded, kept and drawn views of."""

    def __init__(self, plan: Plan, store: PackedStore) -> None:
        super().__init__(plan, store)
        self.parts = windows(len(store), (self.skipped + plan.timed) * plan.batch, seed=1)

    def __call__(self, index: Tensor) -> float:
        return super().__call__(next(self.parts))


class TwoViews:
    """torchvision's transforms of one picture, as in common implementations of SimCLR."""

    def __init__(self, side: int) -> None:
        jitter = transforms.ColorJitter(*RECIPE.jitter)
        assert isinstance(RECIPE.blur, float)
        self.view = transforms.Compose(
            [
                transforms.RandomResizedCrop(side, RECIPE.crop_scale),
                transforms.RandomHorizontalFlip(RECIPE.flip),
                transforms.RandomApply([jitter], RECIPE.jitter_prob),
                transforms.RandomGrayscale(RECIPE.grayscale),
                transforms.RandomApply([transforms.GaussianBlur(2 * (side // 20) + 1, (0.1, 2.0))], RECIPE.blur),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __call__(self, picture: Any) -> list[Tensor]:
        return [self.view(picture) for _ in range(VIEWS)]


class Torchvision:
    """``ImageFolder`` with :class:`TwoViews` in a ``DataLoader``."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.skipped = plan, SKIPPED
        self.pictures: Dataset[Any] = ImageFolder(str(plan.folder), TwoViews(plan.side))

    def __call__(self, index: Tensor) -> float:
        part = Subset(self.pictures, index.tolist())
        loader = DataLoader(part, self.plan.batch, num_workers=WORKERS)
        return passed(loader, self.skipped, len(index) - self.skipped * self.plan.batch)


def packed(plan: Plan, store: FileStore, folder: Path) -> PackedStore:
    """An empty ``data.cache`` of a plan's photographs, as a run fills it."""
    catalog = Catalog({"train": len(store)}, torch.full((len(store),), -1), (), "")
    return cached(store, catalog, plan.side, folder, plan.folder)


def photographs(plan: Plan) -> FileStore:
    """The files of a plan's folder, kept whole at twice the side of the views, as a run keeps them."""
    store = FileStore(plan.folder, image_files(plan.folder))
    store.keep(2 * plan.side)
    return store


def windows(size: int, length: int, seed: int = 0) -> Iterator[Tensor]:
    """Parts of endless shuffles, the same for all contenders."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.long)
    while True:
        if len(left) < length:
            left = torch.cat([left, torch.randperm(size, generator=generator)])
        part, left = left[:length], left[length:]
        yield part


def in_turn(plan: Plan, contenders: dict[str, Callable[[Tensor], float]], size: int) -> dict[str, list[float]]:
    """Photographs a second, one sample of each contender a round, after one round that is not kept."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    parts = windows(size, (SKIPPED + plan.timed) * plan.batch)
    for number in range(plan.rounds + 1):
        for name, call in contenders.items():
            index = next(parts)[: (call.skipped + plan.timed) * plan.batch]  # type: ignore[attr-defined]
            rate = call(index)
            if number:
                rates[name].append(rate)
    return rates
