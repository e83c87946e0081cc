import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import SampleBank
from cl_as_gnn.graph.rewiring import bank_walk, restricted_diffusion


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


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_walks_may_leave_the_nodes_and_come_back(bank, hops):
    walk = bank_walk(bank, 3, 0.2).double()
    nodes = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:12]
    (source, target), weight = restricted_diffusion(walk, hops, nodes)
    power = torch.linalg.matrix_power(walk.to_dense(), hops)[nodes][:, nodes].fill_diagonal_(0)
    total = power.sum(1, keepdim=True)
    expected = torch.where(total > 0, power / total, 0)
    assert expected.any()
    found = torch.zeros(12, 12, dtype=torch.double).index_put_((target, source), weight)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
