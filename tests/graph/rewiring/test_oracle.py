import pytest
import torch

from cl_as_gnn.graph.rewiring import oracle_edges

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
        (source, target), _ = oracle_edges(label, sample, 4, 0.5)
        return set(zip(sample[source].tolist(), sample[target].tolist(), strict=True))

    whole = pairs(LABEL, sample)
    assert pairs(LABEL[order], sample[order]) == whole
    part = order[:150]
    kept = set(sample[part].tolist())
    within = {(a, b) for a, b in whole if a in kept and b in kept}
    assert within <= pairs(LABEL[part], sample[part])


def test_too_few_of_a_kind_and_samples_without_a_label():
    label = torch.tensor([0, 0, 1, -1, -1])
    (source, target), weight = oracle_edges(label, torch.arange(5), 3, 1.0)
    assert (source.tolist(), target.tolist(), weight.tolist()) == ([1, 0], [0, 1], [1, 1])
    (source, target), weight = oracle_edges(label, torch.arange(5), 3, 0.0)
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == {(2, 0), (2, 1), (0, 2), (1, 2)}
    assert weight.tolist() == [1, 1, 0.5, 0.5]
