"""The training step: images or graphs on the device, batched views, the method's message, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cl_as_gnn.config import OptimConfig, RunConfig
from cl_as_gnn.datasets import ImageData
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import Batch, Method, build_method
from cl_as_gnn.tasks.base import Task
from cl_as_gnn.tasks.images import ImageTask
from cl_as_gnn.training.minibatch import Minibatch


def build_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, Adam, SGD or LARS; vectors (biases, normalization) get no weight decay and no LARS scaling."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.lr, fused=True)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    from timm.optim.lars import Lars

    lars: torch.optim.Optimizer = Lars(groups, lr=config.lr, momentum=config.momentum)
    return lars


def rate_factor(step: int, total: int, config: OptimConfig) -> float:
    """Factor on the peak learning rate: a linear rise over ``warmup · total`` steps, then half a cosine to 0, or 1."""
    rise = max(1, round(config.warmup * total)) if config.warmup > 0 else 0
    if step < rise:
        return (step + 1) / rise
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


class EpochSeed:
    """Random numbers of an epoch from the run's seed and the epoch alone: a resumed run draws the same ones."""

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, epoch: int, rank: int = 0) -> int:
        return (self.seed * 1_000_003 + epoch * 8191 + rank) % 2**63


class EpochBatches:
    """Index tensors of an epoch on this rank: a shuffle of the training set, the odd rest left out.

    The order is that of the epoch in which the first batch is asked for (Lightning makes the iterator before it
    restores the epoch), so that a resumed run goes on with the same batches.
    """

    def __init__(self, module: ContrastiveModule):
        self.module = module
        self.total = module.task.size
        size = min(module.config.trainer.batch_size, self.total)
        self.size = size - size % module.config.trainer.ranks

    def __len__(self) -> int:
        return self.total // self.size

    def __iter__(self) -> Iterator[Tensor]:
        trainer = self.module.trainer
        shuffle = torch.Generator().manual_seed(self.module.epoch_seed(trainer.current_epoch))
        order = torch.randperm(self.total, generator=shuffle)[: len(self) * self.size].to(self.module.device)
        yield from order.view(-1, self.size).chunk(trainer.world_size, dim=1)[trainer.global_rank].contiguous()


class ContrastiveModule(LightningModule):
    """One run: the training samples on the device, the views, the method. Batches are index tensors.

    Args:
        config: the run.
        task: the samples and the encoder that reads them.
    """

    def __init__(self, config: RunConfig, task: Task | ImageData):
        super().__init__()
        self.config = config
        self.task = ImageTask(config, task) if isinstance(task, ImageData) else task
        self.augment = self.task.views()
        self.method: Method[Any] = build_method(config.method, self.task.encoder(), config.encoder, self.task.size)
        if config.trainer.compile:
            self.method.encoder.compile()
        self.epoch_seed = EpochSeed(config.seed)
        self.register_buffer("images", self.task.inputs, persistent=False)
        self.register_buffer("labels", self.task.labels, persistent=False)
        self.images: Tensor | None
        self.labels: Tensor | None
        # Every rank has read them from its own disk.
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, ["images", "labels"])
        self._draws: tuple[torch.Generator, ...] = ()
        self.minibatch: Minibatch | None = None
        self._losses: list[Tensor] = []
        self._purities: list[Tensor] = []
        self._stored_loss = self._stored_purity = math.nan
        self.images_seen = 0
        self.elapsed: Callable[[], float] = lambda: 0.0

    def train_dataloader(self) -> EpochBatches:
        return EpochBatches(self)

    def on_train_epoch_start(self) -> None:
        epoch = self.trainer.current_epoch
        torch.manual_seed(self.epoch_seed(epoch, 1))
        if self.trainer.world_size > 1:
            # Ranks draw the same edges in their one graph, each from there on its own views.
            seed = self.epoch_seed(epoch, 2 + self.trainer.global_rank)
            self._draws = (torch.Generator(self.device).manual_seed(seed),)
        self._losses.clear()
        self._purities.clear()
        self.method.begin_epoch(self.progress)

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        return self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches))

    def training_step(self, sample: Tensor, batch_idx: int) -> Tensor:
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            source = sample if self.images is None else self.images.index_select(0, sample)
            images = self.augment(source, self.config.method.num_views, *self._draws)
        labels = None if self.labels is None else self.labels[sample]
        loss, data = self.method(Batch(images, sample, self.progress, labels))
        self._losses.append(loss.detach())
        # The graph is that of the samples of all ranks.
        everyone = data["view"].sample[: len(sample) * self.trainer.world_size]
        known = torch.full_like(everyone, -1) if self.labels is None else self.labels[everyone]
        self.minibatch = Minibatch.of(data, known)
        if self.trainer.current_epoch + 1 == self.trainer.max_epochs:
            self._purities.append(self.minibatch.purity())
        self.images_seen += len(sample) * self.trainer.world_size
        out: Tensor = loss
        return out

    @property
    def epoch_loss(self) -> float:
        """Mean loss of the steps of the current epoch so far, or of the epoch that a checkpoint was made after."""
        return float(torch.stack(self._losses).mean()) if self._losses else self._stored_loss

    @property
    def graph_purity(self) -> float | None:
        """Mean over the steps of the last epoch; None before, or if no batch had labels and neighbours."""
        if not self._purities:
            return None if math.isnan(self._stored_purity) else self._stored_purity
        mean = float(torch.stack(self._purities).nanmean())
        return None if math.isnan(mean) else mean

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cl_as_gnn"] = {
            "config": self.config.model_dump(mode="json"),
            "seconds": self.elapsed(),
            "loss": self.epoch_loss,
            "graph_purity": self.graph_purity,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = checkpoint.get("cl_as_gnn", {}).get("config", {}).get("method", {}).get("name")
        if trained != self.config.method.name:
            raise ConfigError(
                f"the checkpoint holds a run of method {trained!r}, not of {self.config.method.name!r}: "
                "resume it with its own config"
            )
        self._stored_loss = checkpoint["cl_as_gnn"]["loss"]
        purity = checkpoint["cl_as_gnn"].get("graph_purity")
        self._stored_purity = math.nan if purity is None else purity

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = build_optimizer(self.config.optim, self.method)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, total, self.config.optim)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
