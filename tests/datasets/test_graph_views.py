from dataclasses import replace

import pytest
import torch
from torch_geometric.data import Data

from cl_as_gnn.config import GraphAugmentConfig
from cl_as_gnn.datasets import GraphSet, GraphViews, NodeData, NodeViews

N, F = 60, 40


@pytest.fixture
def nodes():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.unique(torch.randint(N, (2, 400), generator=generator), dim=1)
    mask = torch.ones(N, dtype=torch.bool)
    return NodeData("made", Data(x=torch.rand(N, F) + 1, edge_index=edge_index, y=torch.zeros(N)), mask, ~mask, ~mask)


@pytest.fixture
def graphs():
    """Complete graphs of 3 to 7 nodes; the one feature of a node is its number."""
    sizes = torch.arange(3, 8)
    batch = torch.arange(5).repeat_interleave(sizes)
    pair = torch.cartesian_prod(torch.arange(25), torch.arange(25)).t()
    edge_index = pair[:, (batch[pair[0]] == batch[pair[1]]) & (pair[0] != pair[1])]
    return GraphSet("made", Data(x=torch.arange(1.0, 26).view(-1, 1), edge_index=edge_index, batch=batch), sizes)


def test_views_of_nodes_are_view_major_and_drawn_apart(nodes):
    torch.manual_seed(0)
    views = NodeViews(nodes, GraphAugmentConfig(drop_edge=[0.0, 0.5], mask_feature=[0.25, 0.0]))
    drawn = views(torch.tensor([7, 3, 11]), 4)
    assert drawn.x.shape == (4 * N, F)
    assert drawn.chosen.tolist() == [v * N + s for v in range(4) for s in (7, 3, 11)]
    parts = drawn.x.view(4, N, F)
    for even in (parts[0], parts[2]):
        masked = (even == 0).all(0)
        assert 0 < masked.sum() < F / 2
        assert torch.equal(even[:, ~masked], nodes.graph.x[:, ~masked]), "a channel is masked for every node"
    assert not torch.equal(parts[0], parts[2])
    assert torch.equal(parts[1], nodes.graph.x)
    view = drawn.edge_index // N
    assert torch.equal(view[0], view[1]), "views are not joined"
    count = torch.bincount(view[0], minlength=4)
    whole = nodes.graph.edge_index
    assert count[0] == count[2] == whole.size(1)
    assert whole.size(1) * 0.3 < count[1] < whole.size(1) * 0.7
    known = set(map(tuple, whole.t().tolist()))
    assert all((a % N, b % N) in known for a, b in drawn.edge_index.t().tolist())
    assert views.x.min() >= 1, "the graph itself stays as it is"


def test_views_know_the_edges_among_the_chosen_nodes(nodes):
    sample = torch.randperm(N)[: N // 2]
    links = NodeViews(nodes, GraphAugmentConfig(drop_edge=0.5))(sample, 2).links
    among = {(a, b) for a, b in nodes.graph.edge_index.t().tolist() if {a, b} <= set(sample.tolist())}
    assert among
    assert set(map(tuple, sample[links].t().tolist())) == among
    assert links.size(1) == len(among)


def test_the_same_seed_draws_the_same_views(nodes):
    views, sample = NodeViews(nodes, GraphAugmentConfig()), torch.arange(N)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(views(sample, 2))
    assert torch.equal(drawn[0].x, drawn[1].x)
    assert torch.equal(drawn[0].edge_index, drawn[1].edge_index)
    assert not torch.equal(drawn[0].edge_index, drawn[2].edge_index)


def test_graphs_are_taken_in_the_order_asked_for(graphs):
    views = GraphViews(graphs, GraphAugmentConfig(drop_edge=0.0, mask_feature=0.0))
    drawn = views(torch.tensor([4, 0, 2]), 2)
    assert drawn.num_graphs == 6
    for place, graph in enumerate([4, 0, 2, 4, 0, 2]):
        inside = drawn.batch == place
        assert torch.equal(drawn.x[inside], graphs.graph.x[graphs.graph.batch == graph])
        edges = inside[drawn.edge_index[0]]
        assert edges.sum() == (3 + graph) * (2 + graph)
    assert torch.equal(drawn.batch[drawn.edge_index[0]], drawn.batch[drawn.edge_index[1]])


def test_nodes_of_graphs_are_dropped_and_masked(graphs):
    torch.manual_seed(0)
    views = GraphViews(graphs, GraphAugmentConfig(drop_edge=0.0, mask_feature=0.4, drop_node=[0.5, 0.0]))
    drawn = views(torch.arange(5), 2)
    first, second = (drawn.batch < 5), (drawn.batch >= 5)
    assert 0 < first.sum() < 25
    assert second.sum() == 25
    masked = (drawn.x[second] == 0).sum()
    assert 0 < masked < 25
    everything = GraphViews(graphs, GraphAugmentConfig(drop_node=1.0))(torch.arange(5), 2)
    assert everything.x.size(0) == 0
    assert everything.num_graphs == 10


def test_sparse_features_stay_sparse(nodes):
    torch.manual_seed(0)
    x = nodes.graph.x * (torch.rand(N, F) < 0.05)
    x[3] = 0
    data = replace(nodes, graph=Data(x=x, edge_index=nodes.graph.edge_index, y=nodes.graph.y))
    views = NodeViews(data, GraphAugmentConfig(drop_edge=0.0, mask_feature=[0.0, 0.5]))
    drawn = views(torch.arange(N), 3)
    assert drawn.x.layout == torch.sparse_csr
    parts = drawn.x.to_dense().view(3, N, F)
    assert torch.equal(parts[0], x)
    assert torch.equal(parts[2], x)
    gone = (parts[1] != x).any(0)
    assert 0 < gone.sum() < F
    assert (parts[1][:, gone] == 0).all()
    assert drawn.chosen.tolist() == list(range(3 * N))
