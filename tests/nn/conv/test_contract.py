"""What every layer keeps, norm or convolution: compiled, half and double precision, containers, one-line repr."""

import copy

import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data
from torch_geometric.nn import Sequential
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csr_tensor

from cl_as_gnn import nn

EDGES = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 4], [1, 0, 2, 1, 4, 3, 4, 0]])
WEIGHT = torch.tensor([1.0, 1.0, 2.0, 2.0, 0.5, 0.5, 1.0, 1.0])
CALLS = {
    "AlignmentConv": (nn.AlignmentConv(0.4, 2), (EDGES, WEIGHT)),
    "UniformityConv": (nn.UniformityConv(0.7), ()),
    "UniformityConv, edges": (nn.UniformityConv(0.7), (EDGES,)),
    "ContrastiveConv": (nn.ContrastiveConv(), (EDGES,)),
    "ContrastiveConv, symmetric": (nn.ContrastiveConv(symmetric=True), (EDGES,)),
    "ContrastiveConv, affinity": (nn.ContrastiveConv(repel="affinity"), (EDGES, EDGES[:, :4])),
    "HardestPositiveConv": (nn.HardestPositiveConv(), (EDGES,)),
    "SpectralConv": (nn.SpectralConv(), (EDGES, WEIGHT)),
    "PositiveAttention": (nn.PositiveAttention(), (EDGES,)),
    "ContraNorm": (nn.ContraNorm(4), ()),
    "ContraNorm, linear": (nn.ContraNorm(4, linear=True), ()),
}
PER_GRAPH = ["UniformityConv", "ContrastiveConv", "ContrastiveConv, symmetric", "SpectralConv", "ContraNorm"]
every = pytest.mark.parametrize("name", CALLS)


def features(n=6, dtype=torch.float32, seed=0):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)


def gradient(layer, x, arguments):
    x = x.clone().requires_grad_()
    out = layer(x, *arguments)
    if not out.requires_grad:  # attention weights are constants
        return out, None
    return out, torch.autograd.grad(out.square().sum(), x)[0]


@every
def test_compiles_into_one_graph_for_every_size(name):
    layer, arguments = CALLS[name]
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (6, 9):
        torch.testing.assert_close(gradient(compiled, features(n), arguments), gradient(layer, features(n), arguments))


def test_stage_aggregation_compiles_and_keeps_the_type():
    stages, seen = features(12).view(2, 6, 4), torch.ones(2, 6, dtype=torch.bool)
    for mode in ("fixed", "learned", "attention"):
        layer = nn.StageAggregation(mode=mode)
        torch._dynamo.reset()
        compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
        torch.testing.assert_close(compiled(stages, seen), layer(stages, seen))
        for dtype in (torch.bfloat16, torch.float64):
            assert layer(stages.to(dtype), seen).dtype == dtype


@every
def test_double_is_computed_in_double(name):
    layer, arguments = CALLS[name]
    wide = layer if name.startswith("Pos") else copy.deepcopy(layer).double()
    out = wide(features(dtype=torch.float64), *arguments)
    assert out.dtype == torch.float64
    single = layer(features(), *arguments)
    torch.testing.assert_close(single.double(), out, atol=1e-5, rtol=1e-5)
    assert (single.double() - out).abs().max() > 0  # float32 somewhere inside would make them equal


@every
def test_after_a_linear_layer_under_autocast(name):
    """Features are bfloat16 there; sums over neighbours are not."""
    layer, arguments = CALLS[name]
    linear = torch.nn.Linear(4, 4)
    x = features().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = linear(x)
        assert hidden.dtype == torch.bfloat16
        out = layer(hidden, *arguments)
    expected = layer(hidden.float(), *arguments)
    torch.testing.assert_close(out.float(), expected, atol=0.02, rtol=0.02)
    if out.requires_grad:
        out.float().square().sum().backward()
        assert 0 < x.grad.abs().sum() < torch.inf


@every
def test_repr_is_one_line_and_reset_changes_nothing_that_is_not_learned(name):
    layer, arguments = CALLS[name]
    assert repr(layer).startswith(type(layer).__name__ + "(")
    assert "\n" not in repr(layer)
    x = features()
    before = layer(x, *arguments)
    again = copy.deepcopy(layer)
    again.reset_parameters()
    torch.testing.assert_close(again(x, *arguments), before)


@pytest.mark.parametrize("name", PER_GRAPH)
def test_a_pyg_batch_is_its_graphs_one_by_one(name):
    layer, arguments = CALLS[name]
    graphs = [Data(x=features(n, seed=n), edge_index=EDGES, edge_weight=WEIGHT) for n in (5, 7, 6)]
    batch = Batch.from_data_list(graphs)
    edges = {0: (), 1: (batch.edge_index,), 2: (batch.edge_index, batch.edge_weight)}[len(arguments)]
    together = layer(batch.x, *edges, batch=batch.batch)
    torch.testing.assert_close(together, torch.cat([layer(graph.x, *arguments) for graph in graphs]))


@pytest.mark.parametrize(
    "layer",
    [
        nn.AlignmentConv(),
        nn.HardestPositiveConv(),
        nn.SpectralConv(),
        nn.ContrastiveConv(),
    ],
    ids=repr,
)
def test_every_format_of_the_edges(layer):
    x = features()
    expected = layer(x, EDGES)
    formats = [
        EdgeIndex(EDGES, sparse_size=(6, 6)),
        to_torch_csr_tensor(EDGES, size=(6, 6)).t().to_sparse_csr(),
        to_torch_coo_tensor(EDGES, size=(6, 6)).t().coalesce(),
        to_torch_csr_tensor(EDGES, size=(6, 6)).t(),  # CSC
    ]
    for edges in formats:
        torch.testing.assert_close(layer(x, edges), expected)


def test_in_both_kinds_of_sequential():
    x = features()
    plain = torch.nn.Sequential(torch.nn.Linear(4, 4), nn.UniformityConv(), nn.ContraNorm(4), torch.nn.ReLU())
    assert plain(x).shape == (6, 4)
    model = Sequential(
        "x, edge_index, batch",
        [
            (nn.AlignmentConv(), "x, edge_index -> x"),
            (nn.ContrastiveConv(), "x, edge_index -> x"),
            (nn.HardestPositiveConv(), "x, edge_index -> x"),
            (nn.SpectralConv(), "x, edge_index -> x"),
            (nn.ContraNorm(4), "x, batch -> x"),
        ],
    )
    expected = x
    for layer in (nn.AlignmentConv(), nn.ContrastiveConv(), nn.HardestPositiveConv(), nn.SpectralConv()):
        expected = layer(expected, EDGES)
    torch.testing.assert_close(model(x, EDGES, None), nn.ContraNorm(4)(expected))


@pytest.mark.parametrize(
    "layer",
    [
        nn.AlignmentConv(),
        nn.HardestPositiveConv(),
        nn.SpectralConv(),
        nn.ContrastiveConv(),
        nn.UniformityConv(),
        nn.PositiveAttention(),
    ],
    ids=repr,
)
def test_edges_of_another_shape_are_one_line(layer):
    for edges in (EDGES.t(), EDGES.float(), EDGES.flatten(), EDGES.tolist()):
        with pytest.raises(ValueError, match=r"edge_index as integers"):
            layer(features(), edges)


@pytest.mark.parametrize(
    "layer",
    [
        nn.AlignmentConv(),
        nn.HardestPositiveConv(),
        nn.SpectralConv(),
        nn.ContrastiveConv(),
        nn.UniformityConv(),
    ],
    ids=repr,
)
def test_features_of_another_shape_are_one_line(layer):
    with pytest.raises(ValueError, match=r"Conv expects (size|x) as "):
        layer((features(), None), EDGES)
    for x in (features()[:, 0], features()[None, None], torch.ones(6, 4, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"Conv expects x as floating-point features of shape \(n, d\)"):
            layer(x, EDGES)
