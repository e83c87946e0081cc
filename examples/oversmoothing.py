"""Deep GCNs lose their nodes' differences; norms of the complete graph bring them back.

python examples/oversmoothing.py                        the karate club, seconds
python examples/oversmoothing.py --root DATA --depth 8  Cora, from PyG's Planetoid under DATA
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub, Planetoid
from torch_geometric.nn import GCN, MeanSubtractionNorm

from cl_as_gnn.nn import ContraNorm


def load(root: str | None) -> tuple[Data, int]:
    dataset = KarateClub() if root is None else Planetoid(root, "Cora")
    data = dataset[0]
    if root is None:  # the club has labels to train on and no test split
        data.test_mask = ~data.train_mask
    return data, dataset.num_classes


def accuracy(data: Data, classes: int, norm: torch.nn.Module | None, depth: int, epochs: int) -> tuple[float, float]:
    """Test accuracy, and how alike the outputs are (mean cosine, 1 = all the same)."""
    torch.manual_seed(0)
    model = GCN(data.num_features, 32, depth, classes, dropout=0.5, norm=norm)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        F.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    with torch.no_grad():
        out = model.eval()(data.x, data.edge_index)
    unit = F.normalize(out, dim=1)
    correct = (out.argmax(1) == data.y)[data.test_mask].float().mean()
    return 100 * float(correct), float(unit.mean(0).square().sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    data, classes = load(args.root)
    # The last two are controls: at temperature 1 ContraNorm is close to subtracting the mean before its LayerNorm.
    contrastive = [ContraNorm(32, scale=0.8), ContraNorm(32, scale=0.8, temperature=0.2)]
    centring = torch.nn.Sequential(MeanSubtractionNorm(), torch.nn.LayerNorm(32))
    for norm in (None, *contrastive, torch.nn.LayerNorm(32), centring):
        correct, alike = accuracy(data, classes, norm, args.depth, args.epochs)
        name = " + ".join(map(repr, norm)) if isinstance(norm, torch.nn.Sequential) else repr(norm)
        print(f"{args.depth} layers, {name}: accuracy {correct:.1f} %, mean cosine {alike:.2f}")  # noqa: T201
