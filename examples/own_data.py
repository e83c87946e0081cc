"""Self-supervised features of your own graph, in your own loop.

python examples/own_data.py               the karate club
python examples/own_data.py my_graph.pt   a torch_geometric Data saved with torch.save (x, edge_index, y, train_mask)
"""

from __future__ import annotations

import argparse

import torch
from sklearn.linear_model import LogisticRegression
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import GCN

from cl_as_gnn.graph import TwoViews, augmentation_edges
from cl_as_gnn.nn.functional import nt_xent


def train(data: Data, epochs: int, dim: int = 64) -> torch.Tensor:
    """Features ``(n, dim)`` that hold no label: two corrupted views of the graph, the same node is the positive."""
    encoder = GCN(data.num_features, 2 * dim, 2, dim, act="prelu")
    projector = torch.nn.Sequential(torch.nn.Linear(dim, dim), torch.nn.ELU(), torch.nn.Linear(dim, dim))
    parameters = [*encoder.parameters(), *projector.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-5)
    views = TwoViews(drop_edge=(0.3, 0.4), mask_feature=(0.3, 0.4), batch=True)
    positives = augmentation_edges(data.num_nodes, 2, data.x.device)
    for epoch in range(epochs):
        batch = views(data)
        optimizer.zero_grad()
        loss = nt_xent(projector(encoder(batch.x, batch.edge_index)), positives, temperature=0.4)
        loss.backward()
        optimizer.step()
        if epoch % max(1, epochs // 5) == 0:
            print(f"epoch {epoch}: loss {loss.item():.3f}")  # noqa: T201
    return encoder.eval()(data.x, data.edge_index).detach()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", nargs="?")
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = KarateClub()[0] if args.path is None else torch.load(args.path, weights_only=False)
    features = train(data, args.epochs).numpy()
    known = data.train_mask.numpy()
    probe = LogisticRegression(max_iter=1000).fit(features[known], data.y[known].numpy())
    score = probe.score(features[~known], data.y[~known].numpy())
    print(f"linear probe on the {(~known).sum()} other nodes: {100 * score:.1f} %")  # noqa: T201
