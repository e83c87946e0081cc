import pytest
import torch

from cl_as_gnn.graph.transforms import oracle_edges
from cl_as_gnn.nn.operators import Adjacency

LABEL = torch.arange(200) % 4


@pytest.mark.parametrize("purity", [0.0, 0.3, 0.75, 1.0])
def test_the_share_of_right_edges_is_the_one_asked_for(purity):
    sample = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:200]
    (source, target), weight = oracle_edges(LABEL, sample, 6, purity)
    assert torch.equal(torch.bincount(target), torch.full((200,), 6))
    assert (source != target).all()
    right = torch.bincount(target, (LABEL[source] == LABEL[target]).float())
    assert right.min() >= int(6 * purity)
    assert right.max() <= -int(-6 * purity // 1)
    assert right.sum() / 1200 == pytest.approx(purity, abs=0.02)
    assert torch.allclose(weight, torch.tensor(1 / 6))


def test_a_pair_is_drawn_once_whatever_the_batch():
    """Among the same samples in another order, and among fewer, the same edges."""
    sample = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:200]
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))

    def pairs(label, sample):
        edges, weight = oracle_edges(label, sample, 4, 0.5)
        source, target = edges[:, weight > 0]
        return set(zip(sample[source].tolist(), sample[target].tolist(), strict=True))

    whole = pairs(LABEL, sample)
    assert pairs(LABEL[order], sample[order]) == whole
    part = order[:150]
    kept = set(sample[part].tolist())
    within = {(a, b) for a, b in whole if a in kept and b in kept}
    assert within <= pairs(LABEL[part], sample[part])


def test_too_few_of_a_kind_and_samples_without_a_label():
    label = torch.tensor([0, 0, 1, -1, -1])

    def among(purity, k):
        edges, weight = oracle_edges(label, torch.arange(5), k, purity)
        assert weight.numel() == 5 * min(k, 5)
        return Adjacency(edges, weight, 5).to_dense().tolist()

    none = [0, 0, 0, 0, 0]
    for k in (3, 7):
        assert among(1.0, k) == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], none, none, none]
        assert among(0.0, k) == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0.5, 0.5, 0, 0, 0], none, none]
