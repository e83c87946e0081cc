"""Time of a training step of each method relative to SimCLR's: ``python -m benchmarks.cost``.

The recipe of the digits suite; the methods take turns in one process. Banks are full and late starts are over, so
every method does all of its work.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import fixed, markdown, terminal
from benchmarks.common.timing import Settings, in_turn
from cl_as_gnn.config import DataConfig, load_config
from cl_as_gnn.datasets import ImageData, load_images
from cl_as_gnn.methods import METHODS, Batch
from cl_as_gnn.runs.process import keep_freed_memory, pick_precision
from cl_as_gnn.training.module import ContrastiveModule
from cl_as_gnn.training.optim import build_optimizer

OUT = RESULTS / "cost.json"
BASELINE = "simclr"
FILL = 8  # steps before the clock: more than an epoch of digits


def step_of(name: str, data: ImageData, device: torch.device) -> tuple[Callable[[], None], int]:
    """Return a training step of a method near the end of its training, and the number of views that it encodes."""
    config = load_config(None, [f"method.name={name}"])
    torch.manual_seed(0)
    module = ContrastiveModule(config, data).to(device).train()
    optimizer = build_optimizer(config.optim, module.method)
    batch, views = config.trainer.batch_size, config.method.num_views
    bf16 = pick_precision(config.trainer) == "bf16-mixed"
    inputs, labels = module.inputs, module.labels
    assert inputs is not None
    assert labels is not None

    def step() -> None:
        sample = torch.randperm(len(inputs), device=device)[:batch]
        with torch.no_grad():
            images = module.augment(inputs[sample], views)
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            loss, _ = module.method(Batch(images, sample, 0.9, labels[sample]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    for _ in range(FILL):
        step()
    module.method.begin_epoch(0.9)
    return step, batch * views


def measure(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Measure seconds per step of each method, and their ratios to the baseline per step and per encoded view."""
    config = load_config(None, [])
    keep_freed_memory(config.trainer)
    assert isinstance(config.data, DataConfig)
    data = load_images(config.data, progress=False).pooled()
    built = {name: step_of(name, data, settings.device) for name in names}
    timings = in_turn({name: step for name, (step, _) in built.items()}, settings)
    base, base_views = timings[BASELINE].median, built[BASELINE][1]
    rows = {
        name: {
            **timing.as_dict(),
            "views": built[name][1],
            "step_ratio": timing.median / base,
            "view_ratio": timing.median / built[name][1] * base_views / base,
        }
        for name, timing in timings.items()
    }
    return {
        "protocol": f"digits recipe, batch {config.trainer.batch_size} images, {pick_precision(config.trainer)}, "
        f"medians of {settings.rounds} rounds in turn in one process; ratios to {BASELINE}",
        **header(settings.device),
        "methods": rows,
    }


def block(path: Path = OUT) -> str:
    """The table of ``docs/results.md``, cheapest method first."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.cost`.\n"
    report = read(path)
    rows = [
        [f"`{name}`", str(row["views"]), *_cells(row)]
        for name, row in sorted(report["methods"].items(), key=lambda item: float(item[1]["step_ratio"]))
    ]
    head = ["method", "views", "ms per step", "× `simclr`", "× `simclr`, per view"]
    return markdown(head, rows) + f"\n{report['protocol']}.\n"


def blocks() -> dict[str, Block]:
    """The blocks of the docs pages."""
    return {"cost": block}


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [fixed(1e3 * row["median_s"]), fixed(row["step_ratio"], 2), fixed(row["view_ratio"], 2)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("methods", nargs="*", help="methods besides simclr (default: all)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    one_view = {name for name, m in METHODS.items() if m.needs_patches or m.needs_split}
    with_views = [name for name, m in METHODS.items() if "images" in m.reads and name not in one_view]
    names = sorted({BASELINE, *(given.methods or with_views)})
    report = measure(names, Settings(torch.device(given.device), rounds=given.rounds))
    write(given.out, report)
    rows = [[name, *_cells(row)] for name, row in report["methods"].items()]
    Console().print(terminal(report["protocol"], ["method", "ms per step", "× simclr", "× per view"], rows))


if __name__ == "__main__":
    main()
