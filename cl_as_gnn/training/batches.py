"""The batches and the random numbers of an epoch, which depend on the run's seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from cl_as_gnn.config import RunConfig


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of an epoch: a resumed run draws the numbers of a run that never stopped."""
    return (seed * 1_000_003 + epoch * 8191 + rank) % 2**63


class EpochBatches:
    """Index tensors of an epoch on this rank: a shuffle of the training set, without the incomplete last batch.

    The order belongs to the epoch in which the first batch is drawn: Lightning creates the iterator before it restores
    the epoch of a resumed run.

    Args:
        module: knows the trainer and the device.
        total: number of training samples.
        config: the run.
    """

    def __init__(self, module: LightningModule, total: int, config: RunConfig):
        self.module, self.total, self.seed = module, total, config.seed
        size = min(config.trainer.batch_size, total)
        self.size = size - size % config.trainer.ranks

    def __len__(self) -> int:
        return self.total // self.size

    def __iter__(self) -> Iterator[Tensor]:
        trainer = self.module.trainer
        shuffle = torch.Generator().manual_seed(epoch_seed(self.seed, trainer.current_epoch))
        order = torch.randperm(self.total, generator=shuffle)[: len(self) * self.size].to(self.module.device)
        yield from order.view(-1, self.size).chunk(trainer.world_size, dim=1)[trainer.global_rank].contiguous()
