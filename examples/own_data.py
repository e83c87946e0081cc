"""Self-supervised features of your own graph, in your own loop: you say what is alike, as weighted edges.

python examples/own_data.py               the karate club
python examples/own_data.py my_graph.pt   torch.save(data.to_dict(), "my_graph.pt") with x, edge_index, y, train_mask
"""

from __future__ import annotations

import argparse
import copy

import torch
from sklearn.linear_model import LogisticRegression
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import GCN

from cl_as_gnn.graph import DropEdges, FeatureKNN
from cl_as_gnn.nn.functional import nt_xent


def alike(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbors in the graph, and the nodes of the most similar features as far as they are similar."""
    near = FeatureKNN(k=3, replace=True)(copy.copy(data))
    weight = torch.cat([torch.ones(data.num_edges), near.edge_weight.clamp(min=0)])
    return torch.cat([data.edge_index, near.edge_index], dim=1), weight


def train(data: Data, epochs: int, dim: int = 64) -> torch.Tensor:
    """Features ``(n, dim)`` that hold no label: what is alike attracts, all nodes repel."""
    encoder = GCN(data.num_features, 2 * dim, 2, dim, act="prelu")
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3, weight_decay=1e-5)
    corrupt, (positives, weight) = DropEdges(0.3), alike(data)
    for epoch in range(epochs):
        z = encoder(data.x, corrupt(data).edge_index)
        loss = nt_xent(z, positives, temperature=0.4, edge_weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % max(1, epochs // 5) == 0:
            print(f"epoch {epoch}: loss {loss.item():.3f}")  # noqa: T201
    features: torch.Tensor = encoder.eval()(data.x, data.edge_index).detach()
    return features


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", nargs="?")
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = KarateClub()[0] if args.path is None else Data.from_dict(torch.load(args.path, weights_only=True))
    features = train(data, args.epochs).numpy()
    known = data.train_mask.numpy()
    probe = LogisticRegression(max_iter=1000).fit(features[known], data.y[known].numpy())
    score = probe.score(features[~known], data.y[~known].numpy())
    print(f"linear probe on the {(~known).sum()} other nodes: {100 * score:.1f} %")  # noqa: T201
