import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

from cl_as_gnn.graph import SameLabelEdges
from cl_as_gnn.nn.functional import nt_xent

Y = torch.tensor([2, 0, 2, -1, 0, 2, 5, -1])


def pairs(edge_index):
    return [tuple(pair) for pair in edge_index.t().tolist()]


def test_all_ordered_pairs_of_a_label_and_no_unlabeled_node():
    data = SameLabelEdges(mask=None)(Data(y=Y, num_nodes=8))
    expected = {(i, j) for i in range(8) for j in range(8) if i != j and Y[i] == Y[j] >= 0}
    assert set(pairs(data.positive_index)) == expected
    assert data.positive_index.size(1) == len(expected)


def test_only_training_labels_unless_told():
    mask = torch.tensor([True, True, True, True, False, False, True, True])
    data = SameLabelEdges()(Data(y=Y, train_mask=mask))
    assert set(pairs(data.positive_index)) == {(0, 2), (2, 0)}
    for limit in (None, 2):
        nobody = SameLabelEdges(limit)(Data(y=Y, train_mask=torch.zeros(8, dtype=torch.bool)))
        assert nobody.positive_index.shape == (2, 0)
    with pytest.raises(ValueError, match=r"expects data\.train_mask to hold the node mask"):
        SameLabelEdges()(Data(y=Y))


def test_a_bounded_number_is_drawn_evenly_from_the_others_of_the_class():
    torch.manual_seed(0)
    y = torch.tensor([0, 1, 0, 0, 1, 0, 3])
    count = torch.zeros(7, 7)
    for _ in range(600):
        edges = SameLabelEdges(1, mask=None)(Data(y=y, num_nodes=7)).positive_index
        assert torch.bincount(edges[1], minlength=7).tolist() == [1] * 6 + [0]
        count[edges[0], edges[1]] += 1
    same = (y[:, None] == y[None]) & ~torch.eye(7, dtype=torch.bool)
    assert (count[~same] == 0).all()
    assert ((count[same] > 150) | (y[:, None] == 1).expand(7, 7)[same]).all()  # 200 of 600 expected
    assert count[1, 4] == count[4, 1] == 600


def test_the_graph_stays_and_batching_shifts_the_positives():
    data = Data(x=torch.randn(8, 2), y=Y, edge_index=torch.tensor([[0], [1]]))
    new = SameLabelEdges(mask=None)(data)
    assert new.edge_index.tolist() == [[0], [1]]
    batch = Batch.from_data_list([new, new])
    half = new.positive_index.size(1)
    assert (batch.positive_index[:, half:] == new.positive_index + 8).all()
    assert nt_xent(batch.x, batch.positive_index, batch=batch.batch).isfinite()


def test_a_node_type_of_heterogeneous_data():
    hetero = HeteroData()
    hetero["a"].y, hetero["b"].x = Y, torch.randn(3, 2)
    new = SameLabelEdges(mask=None, node_type="a")(hetero)
    assert new["a", "same_label", "a"].num_edges == 3 * 2 + 2


def test_repr_and_errors():
    assert repr(SameLabelEdges(4)) == "SameLabelEdges(max_positives=4, mask='train_mask')"
    with pytest.raises(ValueError, match="max_positives as a whole number >= 1, got 0"):
        SameLabelEdges(0)
    with pytest.raises(ValueError, match=r"expects data\.y"):
        SameLabelEdges()(Data(x=torch.ones(2, 1)))


@pytest.mark.parametrize("y", [torch.zeros(4, 3, dtype=torch.long), torch.zeros(2, dtype=torch.long), torch.zeros(4)])
def test_labels_that_are_not_one_integer_a_node(y):
    with pytest.raises(ValueError, match=r"data.y as integers of shape \(4,\), one label of each node"):
        SameLabelEdges(mask=None)(Data(x=torch.randn(4, 2), y=y))
