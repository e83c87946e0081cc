import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

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
    with pytest.raises(ValueError, match="expects p as a number between 0 and 1"):
        DropNodes(1.5)
    nothing = HeteroData()
    nothing["user"].name = "nobody"
    with pytest.raises(ValueError, match=r"expects data\.num_nodes as a number of nodes"):
        DropNodes(0.5)(nothing)


def test_every_type_of_node_of_a_hetero_graph():
    torch.manual_seed(0)
    data = HeteroData()
    data["user"].x = torch.arange(1000.0)
    data["item"].num_nodes = 400
    data["item"].key = torch.arange(400)
    source, target = torch.randint(0, 1000, (5000,)), torch.randint(0, 400, (5000,))
    data["user", "buys", "item"].edge_index = torch.stack([source, target])
    data["user", "buys", "item"].number = torch.arange(5000)
    cut = DropNodes(0.3)(data)
    assert cut["user"].x.numel() / 1000 == pytest.approx(0.7, abs=0.05)
    assert cut["item"].num_nodes == cut["item"].key.numel() == pytest.approx(280, abs=40)
    edges = cut["user", "buys", "item"]
    assert edges.num_edges / 5000 == pytest.approx(0.49, abs=0.05)
    assert torch.equal(cut["user"].x[edges.edge_index[0]], source[edges.number].float())
    assert torch.equal(cut["item"].key[edges.edge_index[1]], target[edges.number])
    assert data["user"].x.numel() == 1000, "the input keeps its nodes"
    both = DropNodes(0.3)(Batch.from_data_list([data, data]))
    assert both.num_graphs == 2
    assert both["user"].x.numel() == int(both["user"].ptr[-1])
