import copy

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn.norm
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import GCN, Sequential
from torch_geometric.nn.resolver import normalization_resolver

from cl_as_gnn.nn import ContraNorm
from cl_as_gnn.nn.streaming import tiles

BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 2])


def dense(x, s, temperature, linear=False, identity=True, batch=None):
    """Eq. 6 of the paper without its LayerNorm, on the full matrix."""
    unit = x / x.norm(dim=1, keepdim=True)
    logits = unit @ unit.t() / temperature
    kernel = 1 + logits if linear else logits.exp()
    if batch is not None:
        kernel = kernel * (batch[:, None] == batch[None])
    share = kernel / kernel.sum(1, keepdim=True)
    return (1 + s if identity else 1) * x - s * share @ x


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("batch", [None, BATCH])
def test_equals_the_formula(linear, identity, batch):
    torch.manual_seed(0)
    x = torch.randn(9, 4, dtype=torch.double)
    layer = ContraNorm(4, 0.3, 1.5, linear, identity, layer_norm=False)
    expected = dense(x, 0.3, 1.5, linear, identity, batch)
    torch.testing.assert_close(layer(x, batch), expected, atol=1e-12, rtol=0)
    if batch is not None:
        torch.testing.assert_close(layer(x, batch, 3), expected, atol=1e-12, rtol=0)
    with_norm = ContraNorm(4, 0.3, 1.5, linear, identity).double()
    torch.testing.assert_close(with_norm(x, batch), F.layer_norm(expected, (4,)), atol=1e-10, rtol=0)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("batch", [None, BATCH])
def test_gradients(linear, batch):
    x = torch.randn(9, 4, dtype=torch.double, requires_grad=True)
    layer = ContraNorm(4, 0.3, linear=linear).double()
    assert torch.autograd.gradcheck(lambda x: layer(x, batch, 3), (x,))


def test_low_temperature_repels_the_nearest_and_linear_is_close_at_one():
    torch.manual_seed(0)
    x = torch.randn(40, 8)
    sharp = ContraNorm(8, 1.0, 0.003, layer_norm=False)(x)
    torch.testing.assert_close(sharp, x, atol=1e-3, rtol=0)  # everyone's nearest is itself: 2x - x
    exact, linear = (ContraNorm(8, 1.0, linear=flag, layer_norm=False)(x) for flag in (False, True))
    assert (exact - linear).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("linear", [False, True])
def test_a_row_of_zeros_and_a_lone_node_stay_finite(linear):
    x = torch.zeros(3, 2, requires_grad=True)
    ContraNorm(2, linear=linear)(x, torch.tensor([0, 0, 1])).sum().backward()
    assert x.grad.isfinite().all()
    lone = torch.randn(1, 2)
    torch.testing.assert_close(ContraNorm(2, 0.5, linear=linear, layer_norm=False)(lone), lone)


def largest(run):
    """Elements of the largest float32 tensor that is allocated."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    return max(event.self_cpu_memory_usage for event in profile.events()) // 4


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_never_makes_a_matrix_of_all_pairs(monkeypatch, linear, graphs):
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 2**17)
    n, d = 1600, 16
    x, batch = torch.randn(n, d, requires_grad=True), torch.arange(n) // 400 if graphs else None
    layer = ContraNorm(d, linear=linear)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's attention takes a tile a thread
    try:
        assert n * d <= largest(lambda: layer(x, batch).sum().backward()) < n * n // 8
        by_columns = torch.randn(d, n).t()
        assert largest(lambda: layer(by_columns, batch)) < n * n // 8
    finally:
        torch.set_num_threads(threads)


def test_found_by_name_in_pygs_models():
    assert torch_geometric.nn.norm.ContraNorm is ContraNorm
    assert normalization_resolver("contra_norm", 8, scale=0.5).scale == 0.5
    data = KarateClub()[0]
    torch.manual_seed(0)
    by_name = GCN(34, 16, 3, 4, norm="ContraNorm", norm_kwargs={"scale": 0.7})
    instance = GCN(34, 16, 3, 4, norm=ContraNorm(16, 0.7))
    assert [type(norm).__name__ for norm in by_name.norms] == ["ContraNorm", "ContraNorm", "Identity"]
    assert by_name.norms[0].in_channels == 16
    assert by_name.supports_norm_batch
    instance.load_state_dict(by_name.state_dict())
    torch.testing.assert_close(by_name(data.x, data.edge_index), instance(data.x, data.edge_index))
    by_name.reset_parameters()


def test_batch_reaches_it_through_pygs_models():
    data = KarateClub()[0]
    x, edges = torch.cat([data.x, 2 * data.x]), torch.cat([data.edge_index, data.edge_index + 34], dim=1)
    model = GCN(34, 16, 3, 4, norm=ContraNorm(16)).eval()
    together = model(x, edges, batch=torch.arange(68) // 34, batch_size=2)
    apart = torch.cat([model(data.x, data.edge_index), model(2 * data.x, data.edge_index)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_in_sequential_and_after_a_deep_copy():
    model = Sequential("x, batch", [(torch.nn.Linear(4, 8), "x -> x"), (ContraNorm(8), "x, batch -> x")])
    x = torch.randn(9, 4)
    expected = ContraNorm(8)(model[0](x), BATCH)
    torch.testing.assert_close(model(x, BATCH), expected)
    torch.testing.assert_close(copy.deepcopy(model)(x, BATCH), expected)
    assert torch.nn.Sequential(torch.nn.Linear(4, 8), ContraNorm(8), torch.nn.ReLU())(x).shape == (9, 8)


@pytest.mark.parametrize("linear", [False, True])
def test_compiles_into_one_graph_of_several_graphs(linear):
    x = torch.randn(9, 4, requires_grad=True)
    layer = ContraNorm(4, linear=linear)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    grads = []
    for run in (layer, compiled):
        (grad,) = torch.autograd.grad(run(x, BATCH, 3).square()[:, 0].sum(), x)
        grads.append(grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("linear", [False, True])
def test_half_precision_is_computed_in_float32(linear):
    x = torch.randn(9, 4).to(torch.bfloat16)
    layer = ContraNorm(4, 0.5, linear=linear, layer_norm=False)
    out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), dense(x.float(), 0.5, 1.0, linear), atol=0.05, rtol=0.02)
    wide = torch.randn(9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(wide)
    torch.testing.assert_close(out, dense(wide, 0.5, 1.0, linear))


def test_repr_and_errors():
    assert (
        repr(ContraNorm(8)) == "ContraNorm(8, scale=0.1, temperature=1.0, linear=False, identity=True, layer_norm=True)"
    )
    with pytest.raises(ValueError, match="in_channels as a whole number >= 1, got 0"):
        ContraNorm(0)
    with pytest.raises(ValueError, match="temperature as a positive number, got 0"):
        ContraNorm(4, temperature=0)
    with pytest.raises(ValueError, match=r"temperature as a number >= 1 where linear=True, got 0\.5"):
        ContraNorm(4, temperature=0.5, linear=True)
    with pytest.raises(ValueError, match=r"x of width 4, got \(3, 5\) of float32: that is in_channels"):
        ContraNorm(4)(torch.randn(3, 5))
