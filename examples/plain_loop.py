"""A method in a plain torch loop: your network, your batches, your optimizer.

python examples/plain_loop.py               SimCLR on digits, seconds
python examples/plain_loop.py --method gcn  any other method of `clgnn methods`
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

from cl_as_gnn.config import AugmentConfig, load_config
from cl_as_gnn.datasets import BatchedViews
from cl_as_gnn.evaluation import leave_one_out_knn
from cl_as_gnn.methods import Batch, build_method


def load() -> tuple[torch.Tensor, torch.Tensor]:
    """The digits as uint8 ``(1797, 1, 8, 8)``, and their labels, which serve the score alone."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels * 255 / 16).to(torch.uint8).view(-1, 1, 8, 8), torch.tensor(labels)


class Net(nn.Sequential):
    """Any module with ``out_dim``, the number of its features."""

    out_dim = 64

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, self.out_dim))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    images, labels = load()
    views = BatchedViews(AugmentConfig(crop_scale=(0.7, 1), rotate=25, flip=0, grayscale=0), 8, 1, (0.3,), (0.4,))
    config = load_config(None, [f"method.name={args.method}"])
    method = build_method(config.method, Net(), config.encoder, num_samples=len(images))
    optimizer = torch.optim.AdamW(method.parameters(), lr=2e-3)
    for epoch in range(args.epochs):
        method.begin_epoch(epoch / args.epochs)
        for sample in torch.randperm(len(images)).split(256)[:-1]:
            loss, graph = method(Batch(views(images[sample], method.config.num_views), sample, epoch / args.epochs))
            optimizer.zero_grad()
            loss.backward()  # hands the message -dL/dx to the network
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {graph}")  # noqa: T201
    features = method.eval().encoder((images / 255 - 0.3) / 0.4).detach()
    print(f"nearest neighbors: {leave_one_out_knn(features, labels, k=20, temperature=0.07):.1f} %")  # noqa: T201
