import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.transforms import bank_walk, restricted_diffusion, whole_set
from cl_as_gnn.graph.transforms.whole_set import _follow_all, _follow_from_both_ends
from cl_as_gnn.nn.operators import Adjacency


@pytest.fixture
def bank():
    bank = SampleBank(40, 5)
    bank.write(torch.arange(3, 40), torch.randn(37, 5, generator=torch.Generator().manual_seed(0)))
    return bank


def test_the_walk_is_a_softmax_over_the_nearest_seen(bank):
    walk = bank_walk(bank, 4, 0.2).to_dense()
    assert (walk[:3] == 0).all()
    assert (walk[:, :3] == 0).all()
    x = bank.features[0]
    cosine = (x @ x.t()).fill_diagonal_(-2)[3:, 3:]
    near = cosine.topk(4).indices
    expected = torch.zeros(37, 37).scatter_(1, near, (cosine.gather(1, near) / 0.2).softmax(1))
    torch.testing.assert_close(walk[3:, 3:], expected)


def test_a_bank_that_is_nearly_empty():
    bank = SampleBank(5, 2)
    assert bank_walk(bank, 3, 0.2) is None
    bank.write(torch.tensor([1, 4]), F.normalize(torch.randn(2, 2), dim=1))
    assert bank_walk(bank, 3, 0.2).to_dense()[[1, 4], [4, 1]].tolist() == [1, 1]


def restricted_power(walk, hops, nodes):
    power = torch.linalg.matrix_power(walk.to_dense().double(), hops)[nodes][:, nodes].fill_diagonal_(0)
    assert power.any()
    return power


NODES = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:12]


@pytest.mark.parametrize("follow", [_follow_all, _follow_from_both_ends])
@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_walks_may_leave_the_nodes_and_come_back(bank, hops, follow):
    walk = bank_walk(bank, 3, 0.2).double()
    source, target, weight = follow(walk, hops, NODES)
    found = torch.zeros(12, 12, dtype=torch.double).index_put_((target, source), weight)
    torch.testing.assert_close(found, restricted_power(walk, hops, NODES), atol=1e-12, rtol=0)


@pytest.mark.parametrize("everywhere", [True, False])
def test_restricted_diffusion_is_a_walk_among_the_nodes(bank, everywhere, monkeypatch):
    """What comes of either way to follow the walks, that of a GPU on the CPU."""
    walk = bank_walk(bank, 3, 0.2)
    monkeypatch.setattr(whole_set, "_follow_from_both_ends", _follow_all if everywhere else _follow_from_both_ends)
    edge_index, weight = restricted_diffusion(walk, 2, NODES)
    power = restricted_power(walk, 2, NODES)
    total = power.sum(1, keepdim=True)
    assert (total == 0).any()
    found = Adjacency(edge_index, weight, 12)
    torch.testing.assert_close(
        found.to_dense(torch.double), torch.where(total > 0, power / total, 0), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(found.row_sum, (total > 0).float().squeeze(1))
