"""The loss modules against the packages whose calls they take: ``python -m benchmarks.losses`` (extra ``peers``).

Forward and backward in float32 on one thread. Time is that of the processor, medians of calls in turn, so that it holds
on a busy machine; memory is the extra peak of one call in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from benchmarks.common.memory import extra_peak
from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import markdown
from cl_as_gnn import nn

OUT = RESULTS / "losses.json"
DIM, ROUNDS, SIZES = 128, 5, (1024, 4096, 8192)
PEERS = {"NTXentLoss": "lightly", "SupConLoss": "pytorch-metric-learning", "CLIPLoss": "open_clip_torch"}
# What a peer needs for a call grows with the square of the rows, or with all pairs of equal labels, listed.
LARGEST = {"NTXentLoss": 8192, "SupConLoss": 4096, "CLIPLoss": 8192}
Loss = Callable[..., Tensor]


def ours(name: str) -> Loss:
    """The module of this package."""
    module: Loss = {"NTXentLoss": nn.NTXentLoss(0.5), "SupConLoss": nn.SupConLoss(0.1), "CLIPLoss": nn.CLIPLoss(0.07)}[
        name
    ]
    return module


def theirs(name: str) -> Loss:
    """The same loss of the package whose call it takes."""
    if name == "NTXentLoss":
        from lightly.loss import NTXentLoss

        lightly: Loss = NTXentLoss(temperature=0.5)
        return lightly
    if name == "SupConLoss":
        from pytorch_metric_learning.losses import SupConLoss

        metric_learning: Loss = SupConLoss(temperature=0.1)
        return metric_learning
    from open_clip.loss import ClipLoss

    clip, scale = ClipLoss(), torch.tensor(1 / 0.07, requires_grad=True)
    return lambda a, b: clip(F.normalize(a, dim=1), F.normalize(b, dim=1), scale)


def call(name: str, side: str, rows: int) -> Callable[[], object]:
    """One forward and backward over ``rows`` rows in all; ten rows have one label."""
    generator = torch.Generator().manual_seed(0)
    loss = {"ours": ours, "theirs": theirs}[side](name)
    if name == "SupConLoss":
        x = torch.randn(rows, DIM, generator=generator, requires_grad=True)
        labels = torch.arange(rows) % max(1, rows // 10)
        return lambda: torch.autograd.grad(loss(x, labels), x)
    pair = [torch.randn(rows // 2, DIM, generator=generator, requires_grad=True) for _ in range(2)]
    return lambda: torch.autograd.grad(loss(*pair), pair)


def seconds(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median processor time of each, in turn after a warm-up."""
    times: dict[str, list[float]] = {side: [] for side in calls}
    for turn in range(1 + ROUNDS):
        for side, run in calls.items():
            start = time.process_time()
            run()
            if turn:
                times[side].append(time.process_time() - start)
    return {side: statistics.median(found) for side, found in times.items()}


def measure(sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each loss and size."""
    for name, peer in PEERS.items():
        for rows in (size for size in sizes if size <= LARGEST[name]):
            found = seconds({side: call(name, side, rows) for side in ("ours", "theirs")})
            peaks = {
                side: extra_peak(call, (name, side, rows), (name, side, 64), torch.device("cpu")) for side in found
            }
            yield {"loss": name, "peer": peer, "version": version(peer), "rows": rows, "seconds": found, "bytes": peaks}


def block(path: Path = OUT) -> str:
    """Time and memory before and after the change of one line."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.losses`.\n"
    results = read(path)
    lines = []
    for row in results["rows"]:
        (after, before), (less, more) = row["seconds"].values(), row["bytes"].values()
        cells = [f"{before * 1e3:,.0f}", f"{after * 1e3:,.0f}", f"{before / after:.1f}"]
        cells += [f"{more / 2**20:,.0f}", f"{less / 2**20:,.0f}"]
        lines.append([f"`{row['loss']}`", f"{row['peer']} {row['version']}", f"{row['rows']:,}", *cells])
    head = ["loss", "before", "rows", "ms before", "ms after", "times as fast", "MB before", "MB after"]
    machine = results["machine"]
    return (
        f"{markdown(head, lines, left=2)}\nForward and backward, float32, {DIM} features, one thread ("
        f"{machine['processor']}, processor time, medians of {ROUNDS} calls in turn; memory: extra peak of one call), "
        f"torch {results['versions']['torch']}; [benchmarks/results/losses.json](../benchmarks/results/losses.json).\n"
    )


def blocks() -> dict[str, Block]:
    """The block of ``docs/losses.md``."""
    return {"losses": block}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it runs")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list(measure(SIZES[:1] if options.quick else SIZES))
    write(options.out, header() | {"rows": rows}, rows="rows")
    Console().print(block(options.out), highlight=False)


if __name__ == "__main__":
    main()
