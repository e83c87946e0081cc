import pytest
import torch
import torch.nn.functional as F
from torch_geometric.transforms import Compose

from cl_as_gnn.graph import FeatureQueue, NeighborPositives, SampleAffinity, view_graph
from cl_as_gnn.graph.transforms.minibatch import sample_prototypes, view_agreement


def unit(n, d=4, seed=0):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_prototypes_are_renormalized_means_over_the_views():
    x = unit(6)
    expected = F.normalize(torch.stack([x[[s, s + 2, s + 4]].mean(0) for s in range(2)]), dim=1)
    torch.testing.assert_close(sample_prototypes(5 * x, 3), expected)


def test_sample_affinity_is_the_row_softmax_over_neighbors():
    data = SampleAffinity(k=3, temperature=0.2)(view_graph(unit(20), 2))
    edges = data["sample", "affinity", "sample"]
    source, target = edges.edge_index
    prototypes = sample_prototypes(data["view"].x, 2)
    cosine = prototypes @ prototypes.t()
    for i in range(10):
        chosen = source[target == i]
        assert set(chosen.tolist()) == set(cosine[i].index_fill(0, torch.tensor(i), -2).topk(3).indices.tolist())
        torch.testing.assert_close(edges.edge_weight[target == i], (cosine[i, chosen] / 0.2).softmax(0))


def test_agreed_edges_are_those_that_every_view_finds():
    size, k = 30, 4
    x = F.normalize(unit(size, seed=9).repeat(2, 1) + 0.4 * torch.cat([unit(size), unit(size, seed=1)]), dim=1)
    every, agreed = (SampleAffinity(k, agreed=agreed)(view_graph(x, 2)) for agreed in (False, True))
    edges, kept = every["sample", "affinity", "sample"], agreed["sample", "affinity", "sample"]
    assert torch.equal(edges.edge_index, kept.edge_index)
    assert edges.agreement == kept.agreement
    near = [(view @ view.t()).fill_diagonal_(-2).topk(k).indices.tolist() for view in x.view(2, size, -1)]
    source, target = edges.edge_index.tolist()
    both = torch.tensor([all(j in view[i] for view in near) for j, i in zip(source, target, strict=True)])
    assert both.any()
    assert not both.all()
    weight = (edges.edge_weight * both).view(size, k)
    left = weight.sum(1, keepdim=True)
    assert (left == 0).any()  # a sample whose neighbors are all disputed has none
    torch.testing.assert_close(kept.edge_weight.view(size, k), torch.where(left > 0, weight / left, 0))


def test_a_batch_smaller_than_k_uses_all_of_it():
    data = SampleAffinity(k=5)(view_graph(unit(6), 2))
    assert data["sample", "affinity", "sample"].edge_index.size(1) == 3 * 2
    alone = SampleAffinity(k=5)(view_graph(unit(2), 2))
    assert alone["sample", "affinity", "sample"].edge_index.size(1) == 0


def test_positives_are_rewired_to_the_neighbors_of_the_positive():
    bank = FeatureQueue(6, 4)
    bank.push(unit(6, seed=1), torch.arange(6))
    x = unit(8)
    data = NeighborPositives(bank, k=2)(view_graph(x, 2))
    edges = data["neighbour", "rewired", "view"]
    for i in range(8):
        incoming = data["neighbour"].x[edges.edge_index[0][edges.edge_index[1] == i]]
        expected = bank.features[(bank.features @ x[(i + 4) % 8]).topk(2).indices]
        torch.testing.assert_close(incoming, expected)
        torch.testing.assert_close(edges.edge_weight[edges.edge_index[1] == i].sum(), torch.tensor(1.0))


def test_an_empty_bank_rewires_nothing():
    data = NeighborPositives(FeatureQueue(6, 4))(view_graph(unit(8), 2))
    assert data["neighbour", "rewired", "view"].edge_weight.sum() == 0


def test_transforms_compose():
    bank = FeatureQueue(6, 4)
    data = Compose([SampleAffinity(2), NeighborPositives(bank)])(view_graph(unit(8), 2))
    assert set(data.node_types) == {"view", "sample", "neighbour"}
    assert repr(SampleAffinity(2)) == "SampleAffinity(k=2, temperature=0.2, agreed=False)"


@pytest.mark.parametrize("views", [2, 3])
def test_view_agreement_is_the_overlap_of_neighborhoods_above_chance(views):
    size, k = 12, 3
    noise = torch.cat([unit(size, seed=v) for v in range(views)])
    x = F.normalize(unit(size, seed=9).repeat(views, 1) + 0.5 * noise, dim=1)

    def neighbors(view, sample):
        block = x[view * size : (view + 1) * size]
        others = [t for t in range(size) if t != sample]
        return set(sorted(others, key=lambda t: -float(block[t] @ block[sample]))[:k])

    shares = [len(neighbors(a, s) & neighbors(b, s)) / k for s in range(size) for a in range(views) for b in range(a)]
    overlap, chance = sum(shares) / len(shares), k / (size - 1)
    assert chance < overlap < 1
    expected = torch.tensor((overlap - chance) / (1 - chance))
    torch.testing.assert_close(view_agreement(x, views, k), expected)
    torch.testing.assert_close(
        SampleAffinity(k)(view_graph(x, views))["sample", "affinity", "sample"].agreement, expected
    )


def test_view_agreement_runs_from_chance_to_one():
    same, other = unit(400), unit(400, seed=1)
    assert view_agreement(torch.cat([same, same]), 2, 5) == 1
    assert abs(view_agreement(torch.cat([same, other]), 2, 5)) < 0.05  # 0 in the mean
    assert view_agreement(torch.cat([same[:4], same[:4]]), 2, 3) == 0  # all the others: nothing to agree on
