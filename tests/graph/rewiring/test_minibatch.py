import torch
import torch.nn.functional as F
from torch_geometric.transforms import Compose

from cl_as_gnn.graph import FeatureQueue, NeighbourPositives, SampleAffinity, view_graph
from cl_as_gnn.graph.rewiring.minibatch import sample_prototypes, view_similarity


def unit(n, d=4, seed=0):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_prototypes_are_renormalised_means_over_the_views():
    x = unit(6)
    expected = F.normalize(torch.stack([x[[s, s + 2, s + 4]].mean(0) for s in range(2)]), dim=1)
    torch.testing.assert_close(sample_prototypes(5 * x, 3), expected)


def test_sample_affinity_is_the_row_softmax_over_neighbours():
    data = SampleAffinity(k=3, temperature=0.2)(view_graph(unit(20), 2))
    edges = data["sample", "affinity", "sample"]
    source, target = edges.edge_index
    prototypes = sample_prototypes(data["view"].x, 2)
    cosine = prototypes @ prototypes.t()
    for i in range(10):
        chosen = source[target == i]
        assert set(chosen.tolist()) == set(cosine[i].index_fill(0, torch.tensor(i), -2).topk(3).indices.tolist())
        torch.testing.assert_close(edges.edge_weight[target == i], (cosine[i, chosen] / 0.2).softmax(0))


def test_a_batch_smaller_than_k_uses_all_of_it():
    data = SampleAffinity(k=5)(view_graph(unit(6), 2))
    assert data["sample", "affinity", "sample"].edge_index.size(1) == 3 * 2
    alone = SampleAffinity(k=5)(view_graph(unit(2), 2))
    assert alone["sample", "affinity", "sample"].edge_index.size(1) == 0


def test_positives_are_rewired_to_the_neighbours_of_the_positive():
    bank = FeatureQueue(6, 4)
    bank.push(unit(6, seed=1), torch.arange(6))
    x = unit(8)
    data = NeighbourPositives(bank, k=2)(view_graph(x, 2))
    edges = data["neighbour", "rewired", "view"]
    for i in range(8):
        incoming = data["neighbour"].x[edges.edge_index[0][edges.edge_index[1] == i]]
        expected = bank.features[(bank.features @ x[(i + 4) % 8]).topk(2).indices]
        torch.testing.assert_close(incoming, expected)
        torch.testing.assert_close(edges.edge_weight[edges.edge_index[1] == i].sum(), torch.tensor(1.0))


def test_an_empty_bank_rewires_nothing():
    data = NeighbourPositives(FeatureQueue(6, 4))(view_graph(unit(8), 2))
    assert data["neighbour", "rewired", "view"].edge_weight.sum() == 0


def test_transforms_compose():
    bank = FeatureQueue(6, 4)
    data = Compose([SampleAffinity(2), NeighbourPositives(bank)])(view_graph(unit(8), 2))
    assert set(data.node_types) == {"view", "sample", "neighbour"}
    assert repr(SampleAffinity(2)) == "SampleAffinity(k=2, temperature=0.2)"


def test_view_similarity_is_the_mean_over_pairs_of_views():
    x = unit(12)
    blocks = x.view(3, 4, -1)
    pairs = [(blocks[a] * blocks[b]).sum(1) for a in range(3) for b in range(3) if a != b]
    torch.testing.assert_close(view_similarity(x, 3), torch.stack(pairs).mean())


def test_within_is_the_share_of_neighbours_as_near_as_two_views():
    first = unit(10)
    x = torch.cat([first, F.normalize(first + unit(10, seed=1), dim=1)])
    edges = SampleAffinity(k=3)(view_graph(x, 2))["sample", "affinity", "sample"]
    pairs = [(x[[s, s + 10]] @ x[[t, t + 10]].t()).mean() for s, t in edges.edge_index.t().tolist()]
    near = torch.stack(pairs) >= view_similarity(x, 2)
    assert 0 < near.sum() < len(near)
    torch.testing.assert_close(edges.within, near.float().mean())
    apart = SampleAffinity(k=2)(view_graph(torch.eye(4).repeat(2, 1), 2))["sample", "affinity", "sample"]
    assert apart.within == 0
