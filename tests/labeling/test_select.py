"""Which images are chosen, and what is noted of them."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import affinity_graph
from cl_as_gnn.labeling import crossed_out, duplicates, outliers, typical


def blobs(sizes, seed=0, spread=0.1):
    """Unit rows around one axis for each size, with the number of the axis."""
    y = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noise = torch.randn(len(y), len(sizes) + 2, generator=torch.Generator().manual_seed(seed))
    return F.normalize(torch.eye(len(sizes), len(sizes) + 2)[y] + spread * noise, dim=1), y


def test_one_row_of_each_blob_is_chosen_the_largest_first_and_near_its_middle():
    x, y = blobs([60, 40, 20])
    rows, sizes = typical(x, 3)
    assert y[rows].tolist() == [0, 1, 2]
    assert sizes == [60, 40, 20]
    for row in rows:
        own = x[y == y[row]]
        middle = F.normalize(own.mean(0), dim=0)
        assert x[row] @ middle > (own @ middle).median()


def test_blobs_with_a_label_come_last():
    x, y = blobs([60, 40, 20])
    rows, _ = typical(x, 2, labeled=(y == 0).nonzero().view(-1)[:1])
    assert sorted(y[rows].tolist()) == [1, 2]


def test_all_the_rest_can_be_chosen_and_no_more():
    x, _ = blobs([6, 4])
    assert sorted(typical(x, 9, labeled=torch.tensor([3])).rows) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    for budget in (0, 10):
        with pytest.raises(ConfigError, match=f"budget={budget}: choose from 1 to 9"):
            typical(x, budget, labeled=torch.tensor([3]))


def test_equal_rows_are_clusters_enough():
    assert len(set(typical(F.normalize(torch.ones(30, 3), dim=1), 5).rows)) == 5


def test_near_copies_and_rows_far_from_all_are_found():
    x, _ = blobs([50, 50])
    x[7] = F.normalize(x[93] + 1e-4, dim=0)
    x[20] = F.normalize(torch.tensor([-1.0, -1, 0, 0]), dim=0)
    copies = duplicates(x)
    assert (copies >= 0).nonzero().view(-1).tolist() == [7, 93]
    assert copies[[7, 93]].tolist() == [93, 7]
    far = outliers(x, 10)
    assert far[20]
    assert int(far.sum()) <= 2


def test_hidden_labels_are_judged_without_themselves():
    x, y = blobs([40, 40])
    given = torch.where(torch.arange(80) % 4 == 0, y, -1)
    given[0] = 1
    says = crossed_out(affinity_graph(x, 10), given, 2)
    known = given >= 0
    assert says[~known].abs().max() == 0
    assert says[known].argmax(1).tolist() == y[known].tolist()
    lonely = torch.full((80,), -1)
    lonely[[0, 50, 51]] = torch.tensor([0, 1, 1])
    assert crossed_out(affinity_graph(x, 10), lonely, 2).sum(1).nonzero().view(-1).tolist() == [50, 51]
