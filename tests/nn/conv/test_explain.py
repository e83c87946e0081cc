"""PyG's explainers on the layers: an edge that matters gets more than one that cannot."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.explain import Explainer, GNNExplainer, GraphMaskExplainer, PGExplainer
from torch_geometric.nn import MessagePassing

from cl_as_gnn import nn

EDGES = torch.tensor([[0, 1, 1, 2, 3, 4, 5, 3], [1, 0, 2, 1, 4, 3, 3, 5]])
INTO, BEYOND, APART = 2, 0, slice(4, 8)  # 1 -> 2, 0 -> 1, and a component of its own
SETTINGS = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}


class Attended(torch.nn.Module):
    """Attention weights, a layer that takes them, a norm over all nodes of each graph, and both stages of it."""

    def __init__(self):
        super().__init__()
        self.attention, self.conv = nn.PositiveAttention(3.0), nn.AlignmentConv(0.9)
        self.norm, self.stages = nn.ContraNorm(4), nn.StageAggregation()

    def forward(self, x, edge_index):
        batch = torch.arange(len(x)) * 2 // len(x)
        h = self.norm(self.conv(x, edge_index, self.attention(x, edge_index)), batch)
        return self.stages(torch.stack([x, h]))


ONE_HOP = {
    "AlignmentConv": lambda: nn.AlignmentConv(0.9),
    "UniformityConv": lambda: nn.UniformityConv(1.0, 0.9),
    "ContrastiveConv": lambda: nn.ContrastiveConv(0.5, 0.9),
    "ContrastiveConv, symmetric": lambda: nn.ContrastiveConv(0.5, 0.9, symmetric=True),
    "HardestPositiveConv": lambda: nn.HardestPositiveConv(0.9),
    "SpectralConv": lambda: nn.SpectralConv(0.9),
    "attention, norm, stages": Attended,
}
MAKE = ONE_HOP | {
    "AlignmentConv, two hops": lambda: nn.AlignmentConv(0.9, 2),
    "ContrastiveConv, two hops": lambda: nn.ContrastiveConv(0.5, 0.9, 2),
}


class Net(torch.nn.Module):
    def __init__(self, conv, scale=1.0):
        super().__init__()
        self.conv, self.head = conv, torch.nn.Linear(4, 2)
        self.head.weight.data = scale * torch.tensor([[1.0, -1, 0, 0], [-1, 1, 0, 0]])

    def forward(self, x, edge_index):
        return self.head(self.conv(x, edge_index))


def features():
    return F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)


def explainer(net, algorithm, kind="model", nodes=None):
    return Explainer(net, algorithm, kind, SETTINGS, node_mask_type=nodes, edge_mask_type="object")


@pytest.mark.parametrize("name", MAKE)
def test_gnn_explainer_finds_the_edges_that_matter(name):
    torch.manual_seed(0)
    mask = explainer(Net(MAKE[name]()), GNNExplainer(epochs=10))(features(), EDGES, index=2).edge_mask
    assert mask[INTO] > 0
    assert (mask[BEYOND] > 0) == ("two hops" in name or "attention" in name)  # the norm mixes a graph
    assert mask[APART].sum() == 0


@pytest.mark.parametrize("name", MAKE)
def test_pg_explainer_finds_the_edges_that_matter(name):
    torch.manual_seed(0)
    net, x = Net(MAKE[name]()), features()
    algorithm = PGExplainer(epochs=2)
    explain, target = explainer(net, algorithm, "phenomenon"), net(x, EDGES).argmax(1)
    for epoch in range(2):
        for node in (1, 2):
            algorithm.train(epoch, net, x, EDGES, target=target, index=node)
    mask = explain(x, EDGES, target=target, index=2).edge_mask
    assert mask[INTO] > 0
    assert mask[APART].sum() == 0


@pytest.mark.parametrize("name", ["ContrastiveConv", "HardestPositiveConv"])
def test_graph_mask_explainer_keeps_the_edges_that_matter(name):
    """Eight edges of as many nodes: four into the nodes explained, whose classes differ, four into others."""
    torch.manual_seed(0)
    x = torch.zeros(16, 4)
    x[0:4:2, 0], x[1:4:2, 1], x[4:8, 2], x[8:, 3] = 1, 1, 1, 0.1
    edges = torch.stack([torch.arange(8), torch.arange(8, 16)])
    algorithm = GraphMaskExplainer(1, epochs=60, lr=0.02, penalty_scaling=10, log=False)
    explain = explainer(Net(ONE_HOP[name](), 100.0), algorithm, nodes="object")
    mask = explain(x, edges, index=torch.arange(8, 12)).edge_mask
    assert mask[:4].mean() > mask[4:].mean() + 0.5


@pytest.mark.parametrize("name", MAKE)
def test_graph_mask_explainer_reads_every_layer_and_hop(name):
    torch.manual_seed(0)
    layers = 2 if "two hops" in name else 1
    net = Net(MAKE[name]())
    mask = explainer(net, GraphMaskExplainer(layers, epochs=1, log=False), nodes="object")(features(), EDGES).edge_mask
    assert mask.shape == (8,)
    sent = [layer.latest_messages for layer in net.modules() if isinstance(layer, MessagePassing)]
    assert [message.shape for message in sent] == [(8, 4)] * layers


def test_what_cannot_be_explained_is_one_line():
    x, mask = features(), GraphMaskExplainer(1, epochs=2, log=False)
    every = torch.nn.Sequential()
    every.conv, every.forward = nn.UniformityConv(), lambda x, edge_index: every.conv(x)
    with pytest.raises(
        ValueError, match="UniformityConv expects a call along edges before in_channels, got none: call"
    ):
        explainer(every, mask, nodes="object")(x, EDGES)
    conv = nn.ContrastiveConv()
    conv.explain = True
    with pytest.raises(ValueError, match="ContrastiveConv expects affinity_index as None for an explainer"):
        conv(x, EDGES, EDGES)
