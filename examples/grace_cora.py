"""GRACE in forty lines: two corrupted views of one graph, every node attracted to itself and repelled from the rest.

python examples/grace_cora.py              the karate club, seconds
python examples/grace_cora.py --root DATA  Cora, from PyG's Planetoid under DATA, minutes on one core
"""

from __future__ import annotations

import argparse

import torch
from torch_geometric.datasets import KarateClub, Planetoid
from torch_geometric.nn import GCN
from torch_geometric.transforms import NormalizeFeatures

from cl_as_gnn.evaluation import validated_probe
from cl_as_gnn.graph import TwoViews, augmentation_edges
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion
from cl_as_gnn.nn.terms.base import objective

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root")
    parser.add_argument("--epochs", type=int, default=200)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = (Planetoid(args.root, "Cora", transform=NormalizeFeatures()) if args.root else KarateClub())[0]
    n, dim = data.num_nodes, 256 if args.root else 32
    encoder = GCN(data.num_features, 2 * dim, num_layers=2, out_channels=dim)
    projector = torch.nn.Sequential(
        torch.nn.ELU(), torch.nn.Linear(dim, 128), torch.nn.ELU(), torch.nn.Linear(128, 128)
    )
    optimizer = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=1e-3, weight_decay=1e-5)
    views = TwoViews(drop_edge=(0.3, 0.4), mask_feature=(0.3, 0.4), batch=True)
    attract = Adjacency(augmentation_edges(n, 2, data.x.device), num_nodes=2 * n)  # node i of a view to i of the other
    for epoch in range(args.epochs):
        batch = views(data)
        z = torch.nn.functional.normalize(projector(encoder(batch.x, batch.edge_index)), dim=1)
        # The loss and its message -dL/dz come together: attract along one graph, repel along all pairs.
        loss = objective(z, Attraction(attract, temperature=0.4), SoftmaxRepulsion(temperature=0.4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % max(1, args.epochs // 5) == 0:
            print(f"epoch {epoch}: loss {loss.item():.3f}")  # noqa: T201
    with torch.no_grad():
        features = encoder.eval()(data.x, data.edge_index)
    held = getattr(data, "val_mask", torch.zeros_like(data.train_mask))
    probe = validated_probe(features, data.y, data.train_mask, held, ~(data.train_mask | held))
    print(f"linear probe on the other nodes: {probe.test:.1f} %")  # noqa: T201
