"""Train on a folder of images from Python; then find the images that look alike.

python examples/image_folder.py PHOTOS                            PHOTOS/<class>/*, or PHOTOS/train/<class>/* and test/
python examples/image_folder.py PHOTOS method.name=simclr seed=1  with any setting of `clgnn train`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import channel_stats
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import scored_data
from cl_as_gnn.tasks.embed import embed
from cl_as_gnn.training.fit import train


def alike(run_dir: Path, count: int) -> list[tuple[float, int, int]]:
    """The test images closest to each other by the features of a finished run: similarity and two positions."""
    run = open_run(run_dir)
    data = scored_data(run.load_config(), progress=False)
    features = embed(load_encoder(run), data.test.batches(data.image_size), channel_stats(data.train))
    (neighbor, image), similarity = knn_edges(features, k=1)
    once = image < neighbor
    best = torch.where(once, similarity, -2).topk(min(count, int(once.sum())))
    return [(float(s), int(image[e]), int(neighbor[e])) for s, e in zip(*best, strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/folder"))
    args = parser.parse_intermixed_args()
    # Small images train on a CPU in minutes; leave image_size out for images that all have one size.
    given = [f"data.root={args.folder}", f"run_dir={args.run_dir}", *args.settings]
    config = load_config(overrides=["data.name=folder", "data.image_size=32", "trainer.epochs=50", *given])
    metrics = train(config, console=Console())
    print(f"kNN {metrics['knn_top1']:.1f} %, linear probe {metrics['linear_top1']:.1f} % on the test images")  # noqa: T201
    for similarity, first, second in alike(args.run_dir, 3):
        print(f"test images {first} and {second} look alike: cosine {similarity:.2f}")  # noqa: T201
