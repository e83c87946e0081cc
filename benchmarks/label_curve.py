"""Accuracy against the number of labels: ``python -m benchmarks.label_curve RUN ...``.

``RUN`` are folders of finished runs on labeled images, one for each seed of a data set. Of 1 to 100 training images per
class the labels are known; the other training images are labeled from them, by the trained encoder and by an encoder
that learns from the given labels alone. Writes ``results/label_curve.json`` and ``.png``; runs of the same data set and
seed are replaced.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor, nn

from benchmarks.common.page import Block
from benchmarks.common.provenance import source
from benchmarks.common.store import RESULTS, read
from benchmarks.common.table import markdown
from benchmarks.labels import accuracy, keep, regression, spread
from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation.probes import draw_rows
from cl_as_gnn.evaluation.propagation import affinity_graph
from cl_as_gnn.labeling import typical
from cl_as_gnn.nn.unit import unit_rows
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import ImageTask, load_task

OUT = RESULTS / "label_curve.json"
COUNTS = (1, 3, 10, 30, 100)
DRAWS, SELECTED = 5, 3
STEPS, BATCH = 500, 64
RULES = {
    "logistic regression": regression,
    "propagation": spread,
    "logistic regression, selected": regression,
    "propagation, selected": spread,
}
SCRATCH = "supervised from scratch"
TITLES = {"digits": "digits", "cifar10": "CIFAR-10 (JPEG)", "clothing": "photographs of clothing"}


def mild(task: ImageTask) -> BatchedViews:
    """Crops of at least half of the area, mirrored where the run mirrors: views that keep the class."""
    augment = AugmentConfig(crop_scale=(0.5, 1), jitter_prob=0, grayscale=0, flip=task.augment.flip)
    return BatchedViews(augment, task.data.image_size, task.data.channels, *task.stats)


def supervised(task: ImageTask, at: Tensor, y: Tensor, classes: int, seed: int, steps: int = STEPS) -> nn.Module:
    """An encoder as that of the run, with a linear layer, that learns from images ``at`` of classes ``y`` alone.

    AdamW (rate 0.001, weight decay 0.05) with a cosine schedule; the images of a batch are drawn with replacement.
    """
    torch.manual_seed(seed)
    encoder, views, split = task.encoder(), mild(task), task.data.train
    model = nn.Sequential(encoder, nn.Linear(encoder.out_dim, classes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pick = torch.randint(len(at), (BATCH,))
        images, aspect = split.read(at[pick])
        loss = F.cross_entropy(model(views(images, 1, None, aspect)), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def measure(path: Path) -> dict[str, Any]:
    """Accuracy on a run's training images without a given label, in %, by rule and number of labels per class.

    Raises:
        ConfigError: the run is not on labeled images.
    """
    start, config = time.process_time(), open_run(path).load_config()
    task = load_task(config, progress=False)
    if not isinstance(task, ImageTask) or task.labels is None:
        raise ConfigError(f"{path} is not a run on labeled images: give such a run")
    cpu = torch.device("cpu")
    features = task.features(load_encoder(open_run(path)), cpu)
    known = (features["train_labels"] >= 0).nonzero().view(-1)
    x = unit_rows(features["train"][known])
    y = torch.unique(features["train_labels"][known], return_inverse=True)[1]
    at = task.data.train.readable()[known]
    classes, graph = int(y.max()) + 1, affinity_graph(x)
    # One image per class at least is left to be labeled.
    counts = [count for count in COUNTS if count < int(torch.bincount(y).min())]
    found: dict[str, dict[str, float]] = {name: {} for name in (*RULES, SCRATCH)}
    for count in counts:
        random = draw_rows(y, count, DRAWS, 0)
        chosen = [torch.tensor(typical(x, count * classes, seed=seed).rows) for seed in range(SELECTED)]
        for name, rule in RULES.items():
            draws = chosen if "selected" in name else random
            scores = [accuracy(rule(x, graph, rows, classes, y), y, rows) for rows in draws]
            found[name][str(count)] = mean(scores)
        rows = random[config.seed % DRAWS]
        model = supervised(task, at[rows], y[rows], classes, config.seed)
        found[SCRATCH][str(count)] = accuracy(task.features(model, cpu)["train"][known], y, rows)
    return {
        "data": task.name if config.data.name != "folder" else Path(str(config.data.root)).name,
        "seed": config.seed,
        "method": config.method.name,
        "epochs": config.trainer.epochs,
        "images": len(x),
        "classes": classes,
        "cpu_seconds": round(time.process_time() - start, 1),
        "accuracy": found,
    }


def by_data(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The measured runs of each data set, sorted by seed."""
    out: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(result["rows"], key=lambda row: (*map(row.get, ("data", "seed")),)):
        out.setdefault(row["data"], []).append(row)
    return out


def over_seeds(rows: Sequence[Mapping[str, Any]], name: str, count: str) -> tuple[float, float]:
    """Mean and standard deviation of a rule over the runs."""
    values = [row["accuracy"][name][count] for row in rows]
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each rule, a column for each number of labels."""
    counts = list(rows[0]["accuracy"][SCRATCH])
    text = "{:.1f} ± {:.1f}" if len(rows) > 1 else "{:.1f}"
    cells = [[name, *(text.format(*over_seeds(rows, name, count)) for count in counts)] for name in rows[0]["accuracy"]]
    return markdown(["labels per class", *counts], cells)


def picture(result: Mapping[str, Any]) -> Figure:
    """Accuracy over the number of labels per class, a panel for each data set."""
    sets = by_data(result)
    figure = Figure(figsize=(4 * len(sets), 3.6), layout="constrained")
    colors = ("#2a5d8a", "#1f7a3d", "#2a5d8a", "#1f7a3d", "#b03a2e")
    for axes, (data, rows) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets.items(), strict=True):
        for name, color in zip(rows[0]["accuracy"], colors, strict=True):
            counts = list(rows[0]["accuracy"][name])
            middle, half = zip(*(over_seeds(rows, name, count) for count in counts), strict=True)
            line = "--" if "selected" in name else "-"
            axes.errorbar([*map(int, counts)], middle, half, fmt=f"o{line}", color=color, markersize=3, label=name)
        axes.set_xscale("log")
        axes.set_xticks([*map(int, counts)], counts)
        axes.minorticks_off()
        axes.set_title(TITLES.get(data, data), fontsize=10)
        axes.set_xlabel("labels per class")
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
    figure.axes[0].set_ylabel("accuracy on the other images, %")
    figure.axes[0].legend(fontsize=7)
    return figure


def block(path: Path = OUT) -> str:
    """Tables, picture and provenance."""
    if not path.is_file():
        return "No results are checked in: run `python -m benchmarks.label_curve RUN ...`.\n"
    result, parts = read(path), []
    for data, rows in by_data(result).items():
        one, seeds = rows[0], ", ".join(str(row["seed"]) for row in rows)
        about = f"{one['images']:,} training images, {one['classes']} classes, encoders of `{one['method']}`"
        parts.append(f"**{TITLES.get(data, data)}**: {about}, {one['epochs']} epochs, seeds {seeds}\n\n{table(rows)}")
    times = (row.get("cpu_seconds") for row in result["rows"])
    parts += [
        f"![accuracy against the number of labels](../benchmarks/results/{path.stem}.png)\n",
        f"Accuracy in % on the training images without a given label, mean ± deviation over seeds; each the mean of "
        f"{DRAWS} draws of labels, of {SELECTED} where `select` chooses them from all classes together, and of one "
        f"from scratch: the same encoder with a linear layer, {STEPS} steps of AdamW on {BATCH} crops; "
        f"{source(path, result, times, 'the curves of an encoder took, in processor time,')}",
    ]
    return "\n".join(parts)


def blocks() -> dict[str, Block]:
    """The block of ``docs/labels.md``."""
    return {"label_curve": block}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the runs and write results and picture after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_curve", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs on labeled images")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file; the picture lies beside it")
    options = parser.parse_args(arguments)
    for path in options.runs:
        new = measure(path)
        picture(keep(options.out, new)).savefig(options.out.with_suffix(".png"), dpi=110)
        Console().print(f"{path}: {new['data']}, seed {new['seed']}", highlight=False)
        Console().print(table([new]), highlight=False)


if __name__ == "__main__":
    main()
