"""Random views of 32-pixel images: a batch at once, and torchvision v2 per sample in two DataLoader workers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.common.timing import Contender, Row, Settings, Work
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.datasets.torchvision_images import CIFAR

SIDE, WORKERS = 32, 2
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


class PerSample(Dataset[Tensor]):
    """uint8 images in memory, and the CIFAR recipe as torchvision's transforms."""

    def __init__(self, images: Tensor) -> None:
        recipe = CIFAR.augment
        self.images = images
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(SIDE, scale=recipe.crop_scale, ratio=recipe.crop_ratio, antialias=True),
                v2.RandomHorizontalFlip(recipe.flip),
                v2.RandomApply([v2.ColorJitter(*recipe.jitter)], recipe.jitter_prob),
                v2.RandomGrayscale(recipe.grayscale),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        view: Tensor = self.transform(self.images[index])
        return view


def rows(settings: Settings, batch: int | None = None, batches: int | None = None) -> Iterator[Row]:
    """One row: a pass over some batches, one view an image, ending on the device."""
    device = settings.device
    batch, batches = batch or (128 if settings.quick else 512), batches or (2 if settings.quick else 8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch * batches, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    resident = images.to(device)
    batched = BatchedViews(CIFAR.augment, SIDE, 3, MEAN, STD).to(device)
    loader = DataLoader(
        PerSample(images), batch, num_workers=WORKERS, persistent_workers=True, pin_memory=device.type == "cuda"
    )

    def ours() -> None:
        for part in resident.split(batch):
            batched(part)

    def per_sample() -> None:
        for views in loader:
            views.to(device, non_blocking=True)

    # uint8 in, float32 out; the two matrix products of every channel.
    work = Work(flops=len(images) * 3 * 4 * SIDE**3, bytes=5 * images.numel())
    yield Row(
        "views",
        f"batch {batch}",
        [
            Contender("BatchedViews", ours, work, len(images)),
            Contender("torchvision v2", per_sample, work, len(images)),
        ],
        {"side": SIDE, "batch": batch, "batches": batches, "workers": WORKERS, "recipe": "cifar10"},
        [
            f"a pass over {len(images):,} images, one view each; torchvision in {WORKERS} running workers",
            "floor: pixels in and out (or two matrix products a channel, if longer)",
        ],
    )
