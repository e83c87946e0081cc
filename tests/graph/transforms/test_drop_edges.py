import pytest
import torch
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.graph import DropEdges


def data(edges=400):
    torch.manual_seed(0)
    edge_index = torch.randint(50, (2, edges))
    return Data(
        x=torch.randn(50, 2),
        edge_index=edge_index,
        edge_weight=edge_index[0] + 100.0 * edge_index[1],
        edge_attr=edge_index.t().clone(),
        positive_index=edge_index.flip(0),  # a graph of its own, of the same size by chance
    )


def test_edges_go_with_everything_that_belongs_to_them():
    old = data()
    new = DropEdges(0.3)(old)
    assert 0.6 * 400 < new.num_edges < 0.8 * 400
    torch.testing.assert_close(new.edge_weight, new.edge_index[0] + 100.0 * new.edge_index[1])
    assert (new.edge_attr.t() == new.edge_index).all()
    assert (new.positive_index == old.positive_index).all()
    assert old.num_edges == 400
    new.validate()


def test_nothing_and_everything():
    assert DropEdges(0.0)(data()).num_edges == 400
    assert DropEdges(1.0)(data()).num_edges == 0


def test_both_directions_of_an_undirected_edge_go_together():
    one_way = torch.stack([torch.arange(200), torch.arange(200) + 1])
    old = Data(edge_index=torch.cat([one_way, one_way.flip(0)], 1), edge_weight=torch.arange(200.0).repeat(2))
    old.num_nodes = 201
    new = DropEdges(0.4, force_undirected=True)(old)
    assert 0 < new.num_edges < 400
    assert new.is_undirected()
    torch.testing.assert_close(new.edge_weight, new.edge_index.min(0).values.float())


def test_every_edge_type_of_heterogeneous_data():
    hetero = HeteroData()
    hetero["a"].x, hetero["b"].x = torch.randn(50, 1), torch.randn(50, 1)
    for relation in (("a", "to", "b"), ("b", "to", "b")):
        hetero[relation].edge_index = torch.randint(50, (2, 300))
        hetero[relation].edge_attr = hetero[relation].edge_index.t().clone()
    new = DropEdges(0.5)(hetero)
    for store in new.edge_stores:
        assert 90 < store.num_edges < 210
        assert (store.edge_attr.t() == store.edge_index).all()
    with pytest.raises(ValueError, match="as a Data where force_undirected=True, got HeteroData"):
        DropEdges(0.5, force_undirected=True)(hetero)


def test_repr_and_errors():
    assert repr(DropEdges(0.2)) == "DropEdges(p=0.2)"
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        DropEdges(1.5)
    with pytest.raises(ValueError, match=r"expects data.edge_index to hold the edges, got only \['x'\]"):
        DropEdges(0.5)(Data(x=torch.ones(2, 1)))
