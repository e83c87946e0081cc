"""Training as a whole: the toolkit on Lightning, and lightly on Lightning as lightly's own CIFAR-10 example does it."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.speed.step import CONFIG, noise
from benchmarks.speed.timing import Contender, Row, Settings
from cl_as_gnn.config import RunConfig, load_config
from cl_as_gnn.models import build_encoder
from cl_as_gnn.training.module import ContrastiveModule
from cl_as_gnn.training.process import keep_freed_memory, pick_precision

SIDE, WORKERS = 32, 2
# Batches that the workers have ready when training starts do not show how fast they are.
SKIPPED = 2 * WORKERS + 1
BATCH = {"small": 128, "resnet18": 32}
TIMED = {"small": 6, "resnet18": 4}


class Watch(Callback):
    """Seconds from the end of step ``skipped`` to the end of the last one."""

    def __init__(self, skipped: int) -> None:
        self.skipped, self.start, self.seconds = skipped, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        if batch_idx + 1 == self.skipped:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


class Pictures(Dataset[tuple[Any, int]]):
    """uint8 images in memory, given out as torchvision's CIFAR10 does."""

    def __init__(self, images: Tensor, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self.images, self.transform = images.permute(0, 2, 3, 1).contiguous().numpy(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), 0


class LightlySimCLR(LightningModule):
    """Backbone, head and loss of lightly; one pass for each of the two views."""

    def __init__(self, config: RunConfig) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        self.backbone = build_encoder(config.encoder.name, 3, SIDE, config.encoder.width)
        for parameter in self.backbone.parameters():  # the plain layout, in which a network is made
            parameter.data = parameter.data.contiguous()
        sizes = (self.backbone.out_dim, config.encoder.projector_hidden, config.encoder.projector_dim)
        self.head: nn.Module = SimCLRProjectionHead(*sizes)
        self.criterion: nn.Module = NTXentLoss(config.method.model_dump()["temperature"])

    def training_step(self, batch: tuple[list[Tensor], Tensor], index: int) -> Tensor:
        first, second = (self.head(self.backbone(views)) for views in batch[0])
        loss: Tensor = self.criterion(first, second)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.06)


def rows(settings: Settings, encoder: str) -> Iterator[Row]:
    """One row; a sample is a training run of some steps, of which the first are not timed."""
    batch, timed = (16, 1) if settings.quick else (BATCH[encoder], TIMED[encoder])
    where = "gpu" if settings.device.type == "cuda" else "cpu"
    small = ("encoder.width=8",) if settings.quick else ()
    config = load_config(
        CONFIG, [f"trainer.accelerator={where}", f"trainer.batch_size={batch}", f"encoder.name={encoder}", *small]
    )
    keep_freed_memory(config.trainer)
    data = noise(batch * (SKIPPED + timed))

    def trainer(skipped: int, precision: Any) -> tuple[Trainer, Watch]:
        watch = Watch(skipped)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return Trainer(
            max_steps=skipped + timed,
            max_epochs=1,
            accelerator=where,
            devices=1,
            precision=precision,
            callbacks=[watch],
            enable_model_summary=False,
            **quiet,
        ), watch

    def ours() -> float:
        # Nothing is prepared ahead here, so that two steps of warm-up are enough.
        run, watch = trainer(2, pick_precision(config.trainer))
        run.fit(ContrastiveModule(config, data))
        return watch.seconds / timed

    def lightly() -> float:
        from lightly.transforms import SimCLRTransform

        transform = SimCLRTransform(input_size=SIDE, gaussian_blur=0.0)
        loader = DataLoader(
            Pictures(data.train.images, transform), batch, shuffle=True, drop_last=True, num_workers=WORKERS
        )
        run, watch = trainer(SKIPPED, "32-true")
        run.fit(LightlySimCLR(config), loader)
        return watch.seconds / timed

    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    contenders = [Contender("cl_as_gnn", ours, items=batch)]
    notes = [
        f"one step: {batch} images, two views each, {pick_precision(config.trainer)} here and fp32 there, as is usual",
        f"lightly: SimCLRTransform without blur in {WORKERS} workers, SGD, its projection head at our sizes",
    ]
    if find_spec("lightly"):
        contenders.append(Contender("lightly + Lightning", lightly, items=batch))
    else:
        notes.append("lightly is not installed (pip install '.[bench]')")
    sizes = {"encoder": encoder, "batch": batch, "workers": WORKERS, "steps": timed}
    yield Row("training", encoder, contenders, sizes, notes, self_timed=True)
