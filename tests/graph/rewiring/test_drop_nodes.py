import pytest
import torch
from torch_geometric.data import Data, HeteroData

from cl_as_gnn.graph import DropNodes


def graph(n=2000):
    ring = torch.arange(n)
    edge_index = torch.stack([ring, (ring + 1) % n])
    return Data(x=ring.float().view(-1, 1), edge_index=edge_index, batch=ring // (n // 2))


def test_nodes_go_with_their_edges_and_the_rest_keeps_its_features():
    torch.manual_seed(0)
    data = graph()
    cut = DropNodes(0.3)(data)
    n = cut.x.size(0)
    assert n / 2000 == pytest.approx(0.7, abs=0.04)
    assert cut.edge_index.size(1) / 2000 == pytest.approx(0.49, abs=0.05)
    source, target = cut.x.view(-1)[cut.edge_index]
    assert torch.equal((source + 1) % 2000, target), "an edge joins the nodes that it joined before"
    assert torch.equal(cut.batch, (cut.x.view(-1) >= 1000).long())
    assert data.x.size(0) == 2000, "the input keeps its nodes"


def test_none_all_and_what_it_does_not_take():
    assert DropNodes(0.0)(graph(10)).x.size(0) == 10
    assert DropNodes(1.0)(graph(10)).edge_index.size(1) == 0
    assert repr(DropNodes(0.25)) == "DropNodes(p=0.25)"
    with pytest.raises(ValueError, match="probability between 0 and 1"):
        DropNodes(1.5)
    with pytest.raises(ValueError, match="DropNodes is for Data, got HeteroData"):
        DropNodes(0.5)(HeteroData())
