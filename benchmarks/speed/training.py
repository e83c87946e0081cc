"""Training as a whole: the toolkit on Lightning, and lightly on Lightning as lightly's own CIFAR-10 example does it."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.memory import extra_peak
from benchmarks.common.timing import Contender, Row, Settings, Work
from benchmarks.speed.step import CONFIG, noise
from cl_as_gnn.config import RunConfig, load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.runs.process import keep_freed_memory, pick_precision
from cl_as_gnn.training.module import ContrastiveModule

OURS, LIGHTLY = "cl_as_gnn", "lightly + Lightning"
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
        self.backbone = build_encoder(config.encoder, Inputs(3, SIDE))
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
    config, batch, timed = _plan(settings, encoder)
    notes = [
        f"one step: {batch} images, two views each, {pick_precision(config.trainer)} here and fp32 there, as is usual",
        f"lightly: SimCLRTransform without blur in {WORKERS} workers, SGD, its projection head at our sizes",
        "floor: the encoder's flops in our precision, at the rate of a large square product",
        "peak MB: beyond what a tiny run takes, each in a process of its own, lightly's workers not counted",
    ]
    work = _encoder_work(config, batch)
    names = [OURS, LIGHTLY] if find_spec("lightly") else [OURS]
    if len(names) == 1:
        notes.append("lightly is not installed (pip install '.[bench]')")
    tiny = replace(settings, quick=True)
    contenders = []
    for name in names:
        peak = extra_peak(build_run, (name, settings, encoder), (name, tiny, "small"), settings.device)
        extra = {"peak MB": None if peak is None else peak / 1e6}
        contenders.append(Contender(name, build_run(name, settings, encoder), work, items=batch, extra=extra))
    sizes = {"encoder": encoder, "batch": batch, "workers": WORKERS, "steps": timed}
    yield Row("training", encoder, contenders, sizes, notes, self_timed=True)


def build_run(name: str, settings: Settings, encoder: str) -> Callable[[], float]:
    """A short training run, which returns the seconds of a step; ours sets the allocator of its process."""
    config, batch, timed = _plan(settings, encoder)
    data = noise(batch * (SKIPPED + timed))
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")

    def fit(module: LightningModule, skipped: int, precision: Any, loader: Any = None) -> float:
        watch = Watch(skipped)
        trainer = Trainer(
            max_steps=skipped + timed,
            max_epochs=1,
            accelerator=config.trainer.accelerator,
            devices=1,
            precision=precision,
            callbacks=[watch],
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, loader)
        return watch.seconds / timed

    def ours() -> float:
        # Nothing is prepared ahead here, so that two steps of warm-up are enough.
        return fit(ContrastiveModule(config, data), 2, pick_precision(config.trainer))

    def lightly() -> float:
        from lightly.transforms import SimCLRTransform

        assert isinstance(data.train.images, torch.Tensor)
        pictures = Pictures(data.train.images, SimCLRTransform(input_size=SIDE, gaussian_blur=0.0))
        loader = DataLoader(pictures, batch, shuffle=True, drop_last=True, num_workers=WORKERS)
        return fit(LightlySimCLR(config), SKIPPED, "32-true", loader)

    if name == LIGHTLY:
        return lightly
    keep_freed_memory(config.trainer)
    return ours


def _encoder_work(config: RunConfig, batch: int) -> Work:
    """Of a step, forward and backward over two views."""
    encoder = build_encoder(config.encoder, Inputs(3, SIDE))
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(2, 3, SIDE, SIDE)).sum().backward()
    bf16 = pick_precision(config.trainer) == "bf16-mixed"
    return Work(flops=counter.get_total_flops() * batch, dtype=torch.bfloat16 if bf16 else torch.float32)


def _plan(settings: Settings, encoder: str) -> tuple[RunConfig, int, int]:
    """The run, the images of a batch, and how many steps are timed."""
    batch, timed = (16, 1) if settings.quick else (BATCH[encoder], TIMED[encoder])
    where = "gpu" if settings.device.type == "cuda" else "cpu"
    small = ("encoder.width=8",) if settings.quick else ()
    overrides = [f"trainer.accelerator={where}", f"trainer.batch_size={batch}", f"encoder.name={encoder}", *small]
    return load_config(CONFIG, overrides), batch, timed
