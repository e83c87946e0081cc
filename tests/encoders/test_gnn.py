import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import APPNP
from torch_geometric.utils import remove_self_loops, to_undirected

from cl_as_gnn.encoders import GNNConfig, GraphEncoder

N, F = 30, 12


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(N, (2, 90), generator=generator)
    edge_index = torch.unique(edge_index[:, edge_index[0] != edge_index[1]], dim=1)
    x = (torch.rand(N, F, generator=generator) < 0.08).float()
    return Data(x=x, edge_index=edge_index)


def build(name="gcn", pool=None, **settings):
    torch.manual_seed(0)
    return GraphEncoder(F, GNNConfig(conv=name, width=16, **settings), pool)


@pytest.mark.parametrize("name", ["gcn", "gat", "sage", "gin"])
def test_is_the_model_of_pyg_on_lists_of_edges(graph, name):
    """Sparse products in place of messages change nothing, nor do sparse features."""
    encoder = build(name, num_layers=3, out_width=8)
    out = encoder(graph)
    assert out.shape == (N, encoder.out_dim) == (N, 8)
    expected = encoder.gnn(graph.x, graph.edge_index)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-5)
    parameters = list(encoder.parameters())
    sparse = Data(x=graph.x.to_sparse_csr(), edge_index=graph.edge_index)
    torch.testing.assert_close(encoder(sparse), expected, atol=1e-6, rtol=1e-5)
    out = encoder(sparse)
    grads = torch.autograd.grad(out.square().sum(), parameters)
    for mine, theirs in zip(grads, torch.autograd.grad(expected.square().sum(), parameters), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_the_direction_of_edges_is_kept():
    """A message flows from edge_index[0] to edge_index[1]."""
    data = Data(x=torch.eye(F)[:3], edge_index=torch.tensor([[0], [1]]))
    moved = Data(x=torch.eye(F)[[5, 1, 2]], edge_index=data.edge_index)
    change = (build(num_layers=1)(data) - build(num_layers=1)(moved)).abs().sum(1) > 1e-6
    assert change.tolist() == [True, True, False]


def test_chosen_rows_and_views_apart(graph):
    encoder = build()
    both = Data(x=graph.x.repeat(2, 1), edge_index=torch.cat([graph.edge_index, graph.edge_index + N], 1))
    both.chosen = torch.tensor([4, 2, N + 4])
    alone = encoder(graph)
    torch.testing.assert_close(encoder(both), alone[[4, 2, 4]])


def test_diffusion_comes_after_training_only(graph):
    encoder, plain = build(hops=3, teleport=0.2), build()
    plain.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(encoder.train()(graph), plain.train()(graph))
    z = plain.eval()(graph)
    torch.testing.assert_close(encoder.eval()(graph), APPNP(3, 0.2)(z, graph.edge_index))
    assert not torch.allclose(encoder(graph), z)


@pytest.mark.parametrize("pool", ["sum", "mean", "max"])
def test_pools_each_graph_and_all_layers(pool):
    encoder = build("gin", pool=pool, num_layers=3, jk="cat", norm="batch").eval()
    assert encoder.out_dim == 48
    x, edge_index = torch.rand(5, F), torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]])
    data = Data(x=x, edge_index=edge_index, batch=torch.tensor([0, 0, 0, 2, 2]))
    data.num_graphs = 3
    out = encoder(data)
    assert out.shape == (3, 48)
    assert (out[1] == 0).all(), "a graph without nodes"
    first = encoder(Data(x=x[:3], edge_index=edge_index[:, :2], batch=torch.zeros(3).long(), num_graphs=1))
    torch.testing.assert_close(out[:1], first)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "pair", "mean_subtraction", "contra"])
def test_norms_and_last_activation(graph, norm):
    encoder = build(norm=norm, last_act=True, out_width=8, num_layers=3)
    out = encoder(graph)
    assert out.shape == (N, 8)
    assert (out >= 0).all(), "the last layer has its activation"
    out.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_float32_under_autocast(graph):
    encoder = build()
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(graph)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, encoder(graph), atol=0, rtol=0)


@pytest.mark.parametrize(
    "name", ["gcn", "gat", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sage", "gin"))]
)
def test_compiled_encoder_of_a_graph(name):
    torch._dynamo.reset()
    edges = torch.randint(0, 12, (2, 40), generator=torch.Generator().manual_seed(0))
    edges = to_undirected(remove_self_loops(edges)[0])
    graph = Data(x=torch.randn(12, 6), edge_index=edges)
    encoder = GraphEncoder(6, GNNConfig(conv=name, width=8, hops=2)).eval()
    expected = encoder(graph)
    encoder.compile(backend="eager")
    torch.testing.assert_close(encoder(graph), expected)
