import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.transforms import Compose, ToUndirected

from cl_as_gnn.graph import FeatureKNN, NearestPositives


def data(n=8, **attributes):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))
    return Data(x=x, edge_index=torch.tensor([[0, 1, 2], [1, 0, 3]]), **attributes)


def neighbors(x, k):
    cosine = F.normalize(x, dim=1) @ F.normalize(x, dim=1).t()
    chosen = cosine.fill_diagonal_(-2).topk(k).indices
    return {(j, i) for i, row in enumerate(chosen.tolist()) for j in row}


def pairs(edge_index):
    return [tuple(pair) for pair in edge_index.t().tolist()]


def test_edges_run_from_the_nearest_and_join_the_graph():
    old = data()
    new = FeatureKNN(2)(old)
    assert set(pairs(new.edge_index)) == neighbors(old.x, 2) | set(pairs(old.edge_index))
    assert len(pairs(new.edge_index)) == len(set(pairs(new.edge_index)))
    assert "edge_weight" not in new
    assert old.edge_index.size(1) == 3  # the input is left alone


def test_replace_drops_the_old_edges_and_what_belongs_to_them():
    old = data(edge_attr=torch.randn(3, 5), edge_weight=torch.ones(3))
    new = FeatureKNN(2, replace=True)(old)
    assert set(pairs(new.edge_index)) == neighbors(old.x, 2)
    assert "edge_attr" not in new
    source, target = new.edge_index
    torch.testing.assert_close(new.edge_weight, F.cosine_similarity(old.x[source], old.x[target]))
    new.validate()


def test_old_edges_keep_their_weights_and_new_ones_have_their_similarity():
    old = data(edge_weight=torch.tensor([5.0, 6.0, 7.0]))
    new = FeatureKNN(3)(old)
    assert new.edge_weight[:3].tolist() == [5, 6, 7]
    source, target = new.edge_index[:, 3:]
    torch.testing.assert_close(new.edge_weight[3:], F.cosine_similarity(old.x[source], old.x[target]))


def test_graphs_of_a_batch_stay_apart_and_small_ones_use_all():
    batch = Batch.from_data_list([data(8), data(3), data(1)])
    new = FeatureKNN(4, replace=True)(batch)
    source, target = new.edge_index
    assert (batch.batch[source] == batch.batch[target]).all()
    assert torch.bincount(target, minlength=12).tolist() == [4] * 8 + [2] * 3 + [0]


def test_a_node_type_of_heterogeneous_data():
    hetero = HeteroData()
    hetero["paper"].x, hetero["author"].x = data().x, torch.randn(4, 2)
    new = FeatureKNN(2, node_type="paper", relation="similar")(hetero)
    edges = new["paper", "similar", "paper"]
    assert set(pairs(edges.edge_index)) == neighbors(data().x, 2)
    assert edges.edge_weight.shape == (16,)
    assert not hetero.edge_types
    with pytest.raises(ValueError, match=r"one of \['paper', 'author'\], got None"):
        FeatureKNN(2)(hetero)


def test_composes_repr_and_errors():
    new = Compose([FeatureKNN(2, replace=True), ToUndirected()])(data())
    assert new.is_undirected()
    assert repr(FeatureKNN(2)) == "FeatureKNN(k=2, replace=False)"
    with pytest.raises(ValueError, match="k as a whole number >= 1, got 0"):
        FeatureKNN(0)
    with pytest.raises(ValueError, match=r"expects data\.x"):
        FeatureKNN(2)(Data(edge_index=torch.tensor([[0], [1]])))
    with pytest.raises(ValueError, match="got edge_attr: use replace=True"):
        FeatureKNN(2)(data(edge_attr=torch.randn(3, 5)))
    with pytest.raises(ValueError, match="node_type as None for a Data, got 'paper'"):
        FeatureKNN(2, node_type="paper")(data())


@pytest.mark.parametrize("x", [torch.randn(5), torch.eye(5).to_sparse_csr()])
def test_features_that_are_no_dense_matrix_are_one_line(x):
    with pytest.raises(ValueError, match=r"dense real features of shape \(n, d\)"):
        FeatureKNN(2)(Data(x=x, edge_index=torch.tensor([[0], [1]])))


@pytest.mark.parametrize("transform", [FeatureKNN, NearestPositives])
def test_k_that_does_not_fit_is_named(transform):
    for k in (0, 2.5, True, "3"):
        with pytest.raises(ValueError, match=f"{transform.__name__} expects k as a whole number >= 1, got"):
            transform(k)
    with pytest.warns(UserWarning, match=f"{transform.__name__}: k=4 does not fit a graph of 3 nodes, which get all 2"):
        transform(4)(Batch.from_data_list([Data(x=torch.randn(n, 5)) for n in (8, 3)]))
