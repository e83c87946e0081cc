import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import FeatureQueue, SampleBank


def test_queue_keeps_the_latest_rows_normalized():
    queue = FeatureQueue(5, 2)
    rows = torch.arange(1.0, 15.0).view(7, 2)
    queue.push(rows[:3], torch.arange(3))
    assert (queue.sample >= 0).sum() == 3
    queue.push(rows[3:], torch.arange(3, 7))
    assert sorted(queue.sample.tolist()) == [2, 3, 4, 5, 6]
    for slot, sample in enumerate(queue.sample):
        torch.testing.assert_close(queue.features[slot], F.normalize(rows[sample], dim=0))


def test_a_push_larger_than_the_queue_keeps_its_tail():
    queue = FeatureQueue(3, 2)
    queue.push(torch.randn(10, 2), torch.arange(10))
    assert sorted(queue.sample.tolist()) == [7, 8, 9]


def test_queue_finds_the_nearest_and_says_what_it_knows():
    queue = FeatureQueue(4, 2)
    queue.push(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([8, 9]))
    features, similarity, sample = queue.nearest(torch.tensor([[0.6, 0.8]]), k=4)
    torch.testing.assert_close(features[0, 0], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(similarity[0, :2], torch.tensor([0.8, 0.6]))
    assert sample[0].tolist() == [9, 8, -1, -1]


def test_sample_bank_shifts_stages_of_the_named_samples_only():
    bank = SampleBank(4, 2, stages=2)
    first, second = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    bank.write(torch.tensor([1]), first)
    bank.write(torch.tensor([1]), second)
    bank.write(torch.tensor([2]), first)
    features, seen = bank.read(torch.tensor([0, 1, 2]))
    assert seen.tolist() == [[False, True, True], [False, True, False]]
    torch.testing.assert_close(features[:, 1], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(features[0, 2], torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("make", [lambda: FeatureQueue(5, 3), lambda: SampleBank(6, 3, 2)])
def test_all_state_is_in_the_state_dict(make):
    bank, copy = make(), make()
    if isinstance(bank, FeatureQueue):
        bank.push(torch.randn(3, 3), torch.arange(3))
    else:
        bank.write(torch.arange(3), torch.randn(3, 3))
    copy.load_state_dict(bank.state_dict())
    x, sample = torch.randn(2, 3), torch.tensor([4, 5])
    for b in (bank, copy):
        if isinstance(b, FeatureQueue):
            b.push(x, sample)
        else:
            b.write(sample, x)
    for a, b in zip(bank.buffers(), copy.buffers(), strict=True):
        assert torch.equal(a, b)
