import pytest
import torch
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.graph import MaskFeatures


def test_p_is_what_is_lost_and_channels_go_for_every_node():
    torch.manual_seed(0)
    old = Data(x=torch.ones(5, 1000))
    new = MaskFeatures(0.2)(old)
    assert 0.15 < (new.x[0] == 0).float().mean() < 0.25
    assert (new.x == new.x[0]).all()
    assert (old.x == 1).all()


def test_nodes_and_entries():
    torch.manual_seed(0)
    by_node = MaskFeatures(0.5, "row")(Data(x=torch.ones(200, 3))).x
    assert set(by_node.sum(1).tolist()) == {0, 3}
    by_entry = MaskFeatures(0.5, "all")(Data(x=torch.ones(200, 3))).x
    assert set(by_entry.sum(1).tolist()) == {0, 1, 2, 3}


def test_every_node_type_with_features():
    hetero = HeteroData()
    hetero["a"].x, hetero["b"].x, hetero["c"].num_nodes = torch.ones(4, 6), torch.ones(3, 2), 5
    new = MaskFeatures(1.0)(hetero)
    assert new["a"].x.sum() == new["b"].x.sum() == 0
    assert hetero["a"].x.sum() == 24


def test_repr_and_errors():
    assert repr(MaskFeatures(0.2)) == "MaskFeatures(p=0.2, mode='col')"
    with pytest.raises(ValueError, match=r"between 0 and 1, got -0\.1"):
        MaskFeatures(-0.1)
    with pytest.raises(ValueError, match="got 'column'"):
        MaskFeatures(0.1, "column")
    with pytest.raises(ValueError, match=r"expects data\.x"):
        MaskFeatures(0.1)(Data(edge_index=torch.tensor([[0], [1]])))


def test_channels_of_a_sparse_matrix():
    torch.manual_seed(0)
    dense = torch.rand(6, 50)
    masked = MaskFeatures(0.4)(Data(x=dense.to_sparse_csr())).x.to_dense()
    gone = (masked == 0).all(0)
    assert 5 < gone.sum() < 40
    assert torch.equal(masked[:, ~gone], dense[:, ~gone])
    with pytest.raises(ValueError, match="dense, or as CSR where mode='col', got"):
        MaskFeatures(0.4, "row")(Data(x=dense.to_sparse_csr()))
