"""Attract along one relation, repel along another: contrastive layers in PyG's HeteroConv, without a parameter.

python examples/hetero.py    the karate club: friends attract, look-alikes that are no friends repel
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import HeteroConv

from cl_as_gnn.graph import FeatureKNN
from cl_as_gnn.nn import AlignmentConv, UniformityConv

FRIEND, AFFINITY, LEADS = ("member", "friend", "member"), ("member", "affinity", "member"), ("club", "leads", "member")


def build(dim: int = 8) -> HeteroData:
    club = KarateClub()[0]
    data = HeteroData()
    data["member"].x = F.normalize(torch.randn(club.num_nodes, dim), dim=1)
    data["member"].y = club.y
    data[FRIEND].edge_index = club.edge_index
    # One node a club with an edge to the one member known to be in it: a bipartite relation.
    leader = club.train_mask.nonzero().view(-1)
    data["club"].x = F.normalize(torch.randn(len(leader), dim), dim=1)
    data[LEADS].edge_index = torch.stack([torch.arange(len(leader)), leader])
    return FeatureKNN(k=5, node_type="member")(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = build()
    x = data.x_dict  # the clubs themselves stay, of which PyG warns
    # Each layer returns moved features: aggr="mean" averages the three moves.
    layers = {FRIEND: AlignmentConv(0.9), AFFINITY: UniformityConv(step_size=0.2), LEADS: AlignmentConv(0.9)}
    conv = HeteroConv(layers, aggr="mean")
    for _ in range(args.steps):
        moved = conv(x, data.edge_index_dict)["member"]
        x = {"member": F.normalize(moved, dim=1), "club": x["club"]}
    nearest = (x["member"] @ x["club"].t()).argmax(1)
    order = data["member"].y[data[LEADS].edge_index[1]]  # the group of each club's leader
    right = (order[nearest] == data["member"].y).float().mean()
    print(f"members nearest to their own club: {100 * right:.1f} %, by chance 25 %")  # noqa: T201
