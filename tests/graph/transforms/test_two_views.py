import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import Compose, NormalizeFeatures

from cl_as_gnn.graph import TwoViews, augmentation_edges


def data():
    torch.manual_seed(0)
    edges = torch.randint(40, (2, 600))
    return Data(x=torch.ones(40, 300), edge_index=edges, edge_attr=edges.t().clone(), y=torch.arange(40))


def test_each_view_has_its_own_corruption():
    old = data()
    first, second = TwoViews((0.0, 0.5), (0.8, 0.0))(old)
    assert first.num_edges == 600
    assert 240 < second.num_edges < 360
    assert (second.edge_attr.t() == second.edge_index).all()
    assert 0.1 < first.x.mean() < 0.3
    assert (second.x == 1).all()
    assert old.num_edges == 600
    assert (old.x == 1).all()


def test_views_are_independent():
    torch.manual_seed(1)
    first, second = TwoViews(0.5, 0.5)(data())
    assert (first.x[0] != second.x[0]).float().mean() > 0.3


def test_a_batch_is_view_major():
    batch = TwoViews(0.2, 0.0, batch=True)(data())
    assert batch.num_graphs == 2
    source, target = augmentation_edges(40, 2, batch.x.device)
    assert (batch.y[source] == batch.y[target]).all()
    assert (batch.batch[source] != batch.batch[target]).all()
    assert (batch.edge_attr % 40 == batch.edge_index.t() % 40).all()


def test_heterogeneous_data_and_compose():
    hetero = HeteroData()
    hetero["a"].x, hetero["a", "to", "a"].edge_index = (
        torch.tensor([[0.0, 1, 1, 2]]).repeat(9, 1),
        torch.randint(9, (2, 30)),
    )
    first, second = Compose([NormalizeFeatures(), TwoViews(1.0, (0.0, 1.0))])(hetero)
    assert first["a", "to", "a"].num_edges == 0
    torch.testing.assert_close(first["a"].x, torch.tensor([[0, 0.25, 0.25, 0.5]]).repeat(9, 1))
    assert second["a"].x.sum() == 0


def test_repr_and_errors():
    assert repr(TwoViews(0.1, (0.2, 0.3))) == "TwoViews(drop_edge=(0.1, 0.1), mask_feature=(0.2, 0.3))"
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        TwoViews(2)
    with pytest.raises(ValueError, match=r"drop_edge as one probability, or two, got \(0\.1,\)"):
        TwoViews((0.1,), 0.2)
