"""The view generator of InfoMin: ``python -m benchmarks.generator FOLDER``, FOLDER with the class folders of CIFAR-10.

Trains the generators of ``suites/view_generator.yaml``, runs the suite, checks its results in and draws what the
generators make of some images. What is there already is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.common.page import DOCS, Block
from benchmarks.findings import SUITES, collect
from benchmarks.tokens import block
from cl_as_gnn.compare import load_suite, run_suite
from cl_as_gnn.config.views import load_views
from cl_as_gnn.datasets.view_generator import load_generator
from cl_as_gnn.tasks import scored_data
from cl_as_gnn.training.view_generator import write_views

SUITE = SUITES / "view_generator.yaml"
SPACES, MODES, SEEDS = ("rgb", "ydbdr"), ("unsupervised", "semi"), (0, 1, 2)
PICTURE = DOCS / "images" / "view_generator.png"
KEYS = ("i_nce", "knn_top1", "linear_top1", "own_weight", "within_weight", "between_weight")
SHOWN = 8
EVERY = 5


def words(root: Path, space: str, mode: str, seed: int) -> list[str]:
    """Settings of one generator: the training images of the suite, its encoder, its batch size."""
    images = [f"data.root={root}", "data.image_size=16", "encoder.width=16"]
    return [*images, f"space={space}", f"mode={mode}", f"seed={seed}"]


def subset(root: Path, folder: Path) -> Path:
    """Link every fifth training image of each class, and all test images, in a new folder; returns it."""
    for split, step in (("train", EVERY), ("test", 1)):
        for kind in sorted(path for path in (root / split).iterdir() if path.is_dir()):
            (folder / split / kind.name).mkdir(parents=True, exist_ok=True)
            for file in sorted(kind.iterdir())[::step]:
                link = folder / split / kind.name / file.name
                if not link.exists():
                    link.symlink_to(file.resolve())
    return folder


def train_generators(root: Path, folder: Path, console: Console) -> None:
    """Train the generators that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for space, mode, seed in product(SPACES, MODES, SEEDS):
        out = folder / f"{space}-{mode}-{seed}.safetensors"
        if not out.exists():
            write_views(*load_views(None, words(root, space, mode, seed)), out, console)


def draw(root: Path, folder: Path, path: Path) -> None:
    """Draw some held-out images, and of each generator of the first seed the two groups of channels of them.

    The first channel is gray; of the other two, the first is drawn as red and the second as blue, their mean as green.
    """
    config, _ = load_views(None, words(root, "rgb", "semi", 0))
    data = scored_data(config, progress=False)
    index = torch.linspace(0, len(data.test) - 1, SHOWN + 1)[:-1].long() + len(data.test) // (2 * SHOWN)
    images = data.test.squares(index, 32)
    names = {f"{space} {mode}": folder / f"{space}-{mode}-0.safetensors" for space in SPACES for mode in MODES}
    made = {"rgb raw": images}
    for space in SPACES:
        if space == "ydbdr":
            made["ydbdr raw"] = load_generator("ydbdr").images(images)
        made |= {k: load_generator(str(p)).images(images) for k, p in names.items() if k.startswith(space)}
    rows = [("images", images.permute(0, 2, 3, 1))]
    for name, channels in made.items():
        first, rest = stretched(channels[:, :1]), stretched(channels[:, 1:])
        second = torch.stack([rest[:, 0], rest.mean(1), rest[:, 1]], 3)
        rows += [(f"{name}: 1", first.squeeze(1).unsqueeze(3).expand(-1, -1, -1, 3)), (f"{name}: 2, 3", second)]
    figure, axes = plt.subplots(len(rows), 1, figsize=(5.6, 0.72 * len(rows)), dpi=110)
    for ax, (name, tiles) in zip(axes, rows, strict=True):
        ax.imshow(np.concatenate(list(tiles.numpy()), axis=1), interpolation="nearest")
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.subplots_adjust(hspace=0.08)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)


def stretched(channels: Tensor) -> Tensor:
    """Channels ``(n, c, H, W)`` from 0 to 1, each with 1 % of its values clipped at either end."""
    values = channels.float().transpose(0, 1).flatten(1).sort(1).values
    edge = values.size(1) // 100
    low, high = values[:, edge].view(1, -1, 1, 1), values[:, -1 - edge].view(1, -1, 1, 1)
    return ((channels - low) / (high - low).clamp(min=1)).clamp(0, 1)


def _changes(results: Mapping[str, Any]) -> str:
    """Differences to the raw channels of the same color space, by seed."""
    lines = []
    for space, mode in product(SPACES, MODES):
        raw, own = (results["rows"][f"{space} {name}"]["seeds"] for name in ("raw", mode))
        parts = []
        for key, text in (("i_nce", "I_NCE"), ("knn_top1", "kNN"), ("linear_top1", "linear")):
            found = [own[seed][key] - raw[seed][key] for seed in map(str, results["seeds"]) if seed in own]
            digits = 2 if key == "i_nce" else 1
            by_seed = ", ".join(f"{value:+.{digits}f}" for value in found)
            parts.append(f"{text} {mean(found):+.{digits}f} ({by_seed})")
        lines.append(f"- `{space} {mode}` less `{space} raw`: {'; '.join(parts)}")
    return "\n".join(lines) + "\n"


def blocks() -> dict[str, Block]:
    """The block of ``docs/generator.md``."""
    return {"view_generator": partial(block, "view_generator", KEYS, _changes)}


def main(arguments: Sequence[str] | None = None) -> None:
    from benchmarks import pages  # it imports this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator", description=__doc__)
    parser.add_argument("root", type=Path, help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    given, out, console = parser.parse_args(arguments), Path("runs") / "view_generator", Console()
    root = subset(given.root, out / "images")
    train_generators(root, out / "generators", console)
    suite, cells = load_suite(SUITE, [f"data.root={root}"], out)
    run_suite(suite, cells, out, given.jobs, console)
    collect(out)
    draw(root, out / "generators", PICTURE)
    pages.main([])


if __name__ == "__main__":
    main()
