"""Cost of each part by the number of samples, measured and, beyond it, by its law: ``python -m benchmarks.growth``.

One process, one thread, its processor time: other work on the machine counts less than by the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from benchmarks.common.page import Block
from benchmarks.common.store import RESULTS, header, read, write
from benchmarks.common.table import fixed, markdown
from benchmarks.scaling import QUERIES, TEMPERATURE, features, seconds
from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.evaluation import knn_accuracy, linear_probe
from cl_as_gnn.graph.inverted import centers, listed, nearest_by_lists, search_lists
from cl_as_gnn.graph.knn import nearest, search
from cl_as_gnn.nn.streaming import softmax_all_pairs

OUT = RESULTS / "growth.json"
SIZES = (1024, 4096, 8192, 32768)
LAST = 2**20
K = 10
Call = Callable[[], object]


@dataclass(frozen=True)
class Part:
    """A part whose cost grows as a power of the number of samples.

    Attributes:
        title: what n counts, in words.
        power: exponent of n.
        most: largest n that is measured.
        build: makes the call for n samples.
    """

    title: str
    power: float
    most: int
    build: Callable[[int], Call]


def _views(n: int) -> Call:
    images = torch.randint(0, 256, (512, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    augment = BatchedViews(AugmentConfig(), 32, 3, (0.5,) * 3, (0.25,) * 3)
    generator = torch.Generator().manual_seed(0)
    return lambda: [augment(images, 2, generator, None) for _ in range(max(1, n // 512))]


def _lookup(n: int) -> Call:
    bank = features(n + QUERIES)
    return partial(search, bank[:n].contiguous(), bank[n:].contiguous(), 1)


def _lookup_by_lists(n: int) -> Call:
    bank = features(n + QUERIES)
    key, query = bank[:n].contiguous(), bank[n:].contiguous()
    center = centers(key)
    return partial(search_lists, key, query, 1, center, listed(key, center))


def _labeled(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, bank = features(n), 5 * n // 6
    y = (x[:, :10]).argmax(1)
    return x[:bank], y[:bank], x[bank:], y[bank:]


PARTS = {
    "loss": Part("all-pairs message of n nodes", 2, 8192, lambda n: _loss(features(n))),
    "graph": Part(f"kNN graph of n samples, flat, k = {K}", 2, 8192, lambda n: partial(nearest, features(n), K)),
    "lists": Part("kNN graph by inverted lists", 1.5, 32768, lambda n: partial(nearest_by_lists, features(n), K)),
    "queue": Part(f"{QUERIES} lookups in a queue of n rows, flat", 1, 32768, _lookup),
    "queue lists": Part(f"{QUERIES} lookups by inverted lists", 0.5, 32768, _lookup_by_lists),
    "data": Part("two views of each of n images of 32 px", 1, 4096, _views),
    "kNN score": Part("kNN score, 5n/6 in the bank", 2, 8192, lambda n: partial(knn_accuracy, *_labeled(n))),
    "linear score": Part("linear probe on 5n/6", 1, 8192, lambda n: partial(linear_probe, *_labeled(n))),
}


def _loss(x: Tensor) -> Call:
    return partial(softmax_all_pairs, x, TEMPERATURE, unit=True)


def _seconds(call: Call, rounds: int) -> float:
    if rounds > 1:
        return seconds(call, rounds)
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(sizes: tuple[int, ...] = SIZES, rounds: int = 3) -> list[dict[str, Any]]:
    """Seconds of each part at each size; above 4,096 samples of one call, without one before."""
    return [
        {"part": name, "n": n, "s": _seconds(part.build(n), rounds if n <= 4096 else 1)}
        for name, part in PARTS.items()
        for n in sizes
        if n <= part.most
    ]


def model(result: Mapping[str, Any], name: str, n: int) -> float:
    """Seconds at n by the law of a part, from its largest measured size."""
    last = max((row for row in result["rows"] if row["part"] == name), key=lambda row: row["n"])
    return float(last["s"] * (n / last["n"]) ** PARTS[name].power)


def table(path: Path = OUT) -> str:
    """The table of the docs: measured seconds, and in italics those of the model."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.growth`.\n"
    result = read(path)
    known = {(row["part"], row["n"]): row["s"] for row in result["rows"]}
    sizes = [*sorted({n for _, n in known}), LAST]
    rows = []
    for name, part in PARTS.items():
        cells = [fixed(known[name, n], 3) if (name, n) in known else f"*{model(result, name, n):,.3g}*" for n in sizes]
        rows.append([part.title, f"n^{part.power:g}" if part.power != 1 else "n", *cells])
    text = markdown(["part, seconds", "law", *(f"{n:,}" for n in sizes)], rows, left=2)
    versions, machine = result["versions"], result["machine"]
    return text + f"\n{result['about']} {machine['processor']}, torch {versions['torch']}.\n"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw measured costs as lines and those of the model dashed."""
    figure, axes = plt.subplots(figsize=(7.2, 4.6), dpi=110)
    for i, (name, part) in enumerate(PARTS.items()):
        points = [(row["n"], row["s"]) for row in result["rows"] if row["part"] == name]
        axes.plot(*zip(*points, strict=True), "o-", color=f"C{i}", ms=3, label=part.title)
        end = points[-1][0]
        axes.plot((end, LAST), (points[-1][1], model(result, name, LAST)), "--", color=f"C{i}", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="n", ylabel="seconds of one core")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def blocks() -> dict[str, Block]:
    """The block of ``docs/scaling.md``."""
    return {"growth": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    about = (
        f"d = 128, float32, τ = {TEMPERATURE}, rows around 1,000 centers; processor time of one thread, medians of 3 "
        "up to n = 4,096, one call without a warm-up above; in italics the law, from the largest measured n."
    )
    result = {**header(), "about": about, "rows": measure()}
    write(out, result, rows="rows")
    draw(result, out.with_suffix(".png"))
    print(table(out))  # noqa: T201


if __name__ == "__main__":
    main()
