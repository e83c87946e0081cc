"""A whole training step of SimCLR, and how much of it is the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.timing import Contender, Row, Settings, Work
from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import ImageData, Split
from cl_as_gnn.methods import Batch
from cl_as_gnn.runs.process import keep_freed_memory, pick_precision
from cl_as_gnn.training.module import ContrastiveModule
from cl_as_gnn.training.optim import build_optimizer

CONFIG = Path(__file__).parents[2] / "configs" / "cifar10_cpu.yaml"
SIDE, IMAGES = 32, 4096
BATCH = {"small": 256, "resnet18": 32}


def rows(settings: Settings) -> Iterator[Row]:
    """A row an encoder: the step as ``clgnn train`` makes it, without the loop of Lightning around it, and two parts.

    The allocator is set as in training, for the rest of the process: this group comes last.
    """
    for encoder, batch in BATCH.items():
        yield _row(settings, (f"encoder.name={encoder}", f"trainer.batch_size={batch}"))


def _row(settings: Settings, overrides: tuple[str, ...]) -> Row:
    device = settings.device
    small = ("encoder.width=8", "trainer.batch_size=8") if settings.quick else ()
    where = "gpu" if device.type == "cuda" else "cpu"
    config = load_config(CONFIG, [f"trainer.accelerator={where}", *overrides, *small])
    keep_freed_memory(config.trainer)
    precision, batch = pick_precision(config.trainer), config.trainer.batch_size
    bf16 = precision == "bf16-mixed"
    torch.manual_seed(0)
    module = ContrastiveModule(config, noise()).to(device).train()
    optimizer = build_optimizer(config.optim, module.method)
    num_views, inputs, labels = config.method.num_views, module.inputs, module.labels
    assert inputs is not None
    assert labels is not None

    def cast() -> AbstractContextManager[object]:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def draw() -> tuple[Tensor, Tensor]:
        sample = torch.randint(IMAGES, (batch,), device=device)
        with torch.no_grad():
            return sample, module.augment(inputs.index_select(0, sample), num_views)

    def step() -> None:
        sample, views = draw()
        optimizer.zero_grad(set_to_none=True)
        with cast():
            loss, _ = module.method(Batch(views, sample, 0.0, labels[sample]))
        loss.backward()
        optimizer.step()

    images = draw()[1]
    with cast(), torch.no_grad():
        grad = torch.randn_like(module.method.encoder(images))

    def encoder() -> None:
        module.method.encoder.zero_grad(set_to_none=True)
        with cast():
            out = module.method.encoder(images)
        out.backward(grad)

    with FlopCounterMode(display=False) as counter:
        encoder()
    work = Work(flops=counter.get_total_flops(), dtype=torch.bfloat16 if bf16 else torch.float32)
    contenders = [
        Contender("whole step", step, work, batch),
        Contender("encoder alone", encoder, work, batch),
        Contender("views alone", draw, None, batch),
    ]
    name = config.encoder.name
    return Row(
        "step",
        f"{name}, {batch}",
        contenders,
        {"config": CONFIG.name, "batch": batch, "views": num_views, "precision": precision, "encoder": name},
        [
            f"encoder, images: SimCLR, {CONFIG.name}, {num_views} views, {precision}, without Lightning's loop",
            "× ours of a part is its share of the step; floor: the encoder's flops",
        ],
    )


def noise(count: int = IMAGES) -> ImageData:
    """Random images: time does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(count) % 10)
    empty = Split(images[:0], split.labels[:0])
    return ImageData("cifar10", tuple(map(str, range(10))), split, empty, empty)
