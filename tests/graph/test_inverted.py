"""Neighbors by inverted lists: exact where all lists are looked into, and the same for a queue that goes on."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.config import LISTS_ABOVE, build_config
from cl_as_gnn.graph import FeatureQueue, SampleBank
from cl_as_gnn.graph.inverted import centers, listed, search_lists
from cl_as_gnn.graph.knn import search
from cl_as_gnn.graph.transforms import bank_walk


def rows(n: int, seed: int = 0) -> torch.Tensor:
    """Unit rows around 30 centers."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(30, 16, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(n, 16, generator=generator)
    return F.normalize(center[torch.randint(30, (n,), generator=generator)] + 0.7 * noise, dim=1)


def test_all_lists_are_the_exact_search_and_some_lists_nearly():
    key, query = rows(3000), rows(200, 1)
    center = centers(key)
    place = listed(key, center)
    similarity, index = search(key, query, 5)
    found = search_lists(key, query, 5, center, place, probes=len(center))
    torch.testing.assert_close(found[0], similarity)
    assert (found[1] == index).float().mean() > 0.999
    some = search_lists(key, query, 5, center, place, probes=32)[1]
    few = search_lists(key, query, 5, center, place, probes=1)[1]
    recall, least = ((part[:, :, None] == index[:, None]).any(1).float().mean() for part in (some, few))
    assert least < 0.9 < 0.97 < recall


def test_lists_that_hold_fewer_rows_say_so():
    key = rows(12)
    similarity, _ = search_lists(key, key, 12, key[:3], listed(key, key[:3]), probes=1)
    assert torch.isinf(similarity).any()
    assert similarity[:, 0].min() > 0.999


def test_a_queue_finds_by_lists_what_it_finds_without_and_goes_on_as_it_was():
    flat, by_lists, again = FeatureQueue(500, 16), FeatureQueue(500, 16, lists=True), FeatureQueue(500, 16, lists=True)
    for step in range(14):  # nearly three times the rows
        for queue in (flat, by_lists):
            queue.push(rows(100, step), torch.arange(100) + 100 * step)
        if step == 7:
            again.load_state_dict(by_lists.state_dict())
        if step > 7:
            again.push(rows(100, step), torch.arange(100) + 100 * step)
    assert torch.equal(by_lists.place, listed(by_lists.features, by_lists.center))
    near = [queue.nearest(rows(50, 99), 3) for queue in (flat, by_lists, again)]
    assert (near[0][2] == near[1][2]).float().mean() > 0.95
    assert all(torch.equal(one, other) for one, other in zip(near[1], near[2], strict=True))
    again.load_state_dict(flat.state_dict())  # of a version without lists
    assert (again.nearest(rows(50, 99), 3)[2] == near[0][2]).float().mean() > 0.95


def test_the_walk_of_a_bank_above_the_size_is_nearly_that_below():
    bank = SampleBank(900, 16)
    bank.write(torch.arange(800), rows(800))
    exact, by_lists = (bank_walk(bank, 5, 0.1, above).to_dense() for above in (None, 700))
    assert torch.equal(exact, bank_walk(bank, 5, 0.1, 800).to_dense())
    torch.testing.assert_close(by_lists.sum(1), exact.sum(1))
    assert ((by_lists > 0) & (exact > 0)).sum() > 0.97 * (exact > 0).sum()
    assert not torch.equal(by_lists, exact)


@pytest.mark.parametrize("name", ["nnclr", "nn_positives", "gcn_bank"])
def test_the_default_leaves_the_digest_of_a_run_as_it_was(name):
    plain = build_config({"method": {"name": name}})
    assert plain.method.lists_above == LISTS_ABOVE
    assert plain.digest != build_config({"method": {"name": name, "lists_above": 9}}).digest
    assert plain.digest == build_config({"method": {"name": name, "lists_above": 65_536}}).digest
