"""Input that is extreme or wrong: the right numbers, or one line; never a number that is silently wrong."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn import nn
from cl_as_gnn.nn import functional
from cl_as_gnn.nn.unit import moderate, unit_rows

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]])
PAIRS = torch.tensor([[1, 2, 3, 4, 5], [0, 0, 0, 5, 5]])
BATCH = torch.tensor([0, 0, 1, 1, 2, 2])
LENGTHS = [1e-37, 1e-30, 1e-20, 1e-13, 1e20, 1e30, 1e37]
LOSSES = {
    "nt_xent": lambda x: functional.nt_xent(x, EDGES),
    "alignment_loss": lambda x: functional.alignment_loss(x, EDGES),
    "uniformity_loss": lambda x: functional.uniformity_loss(x),
    "PositiveAttention": lambda x: nn.PositiveAttention()(x, PAIRS),
    "StageAggregation": lambda x: nn.StageAggregation(mode="attention")(torch.stack([x, x.flip(0)])).square().sum(),
}
BACKWARD = {
    "UniformityConv": lambda x: nn.UniformityConv()(x),
    "UniformityConv, batch": lambda x: nn.UniformityConv()(x, batch=BATCH),
    "ContrastiveConv": lambda x: nn.ContrastiveConv()(x, EDGES),
    "SpectralConv, batch": lambda x: nn.SpectralConv()(x, EDGES, batch=BATCH),
    "ContraNorm, batch": lambda x: nn.ContraNorm(4, layer_norm=False)(x, BATCH),
    "ContraNorm, linear, batch": lambda x: nn.ContraNorm(4, linear=True, layer_norm=False)(x, BATCH),
    "spectral, batch": lambda x: functional.spectral_contrastive_loss(x, EDGES, batch=BATCH),
}
FORWARD = {
    **BACKWARD,
    "AlignmentConv": lambda x: nn.AlignmentConv()(x, EDGES),
    "ContraNorm": lambda x: nn.ContraNorm(4, layer_norm=False)(x),
    "ContraNorm, linear": lambda x: nn.ContraNorm(4, linear=True, layer_norm=False)(x),
}


def features(dtype=torch.float32, seed=0):
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_of_any_length_have_a_direction(length):
    x = features() * length
    torch.testing.assert_close(unit_rows(x), F.normalize(features(), dim=1), atol=1e-6, rtol=0)
    wide = features(torch.double) * 10.0 ** (8 * torch.tensor(length).log10().item())  # 1e-296 … 1e296
    torch.testing.assert_close(unit_rows(wide), F.normalize(features(torch.double), dim=1), atol=1e-12, rtol=0)


def test_ordinary_rows_keep_every_digit_in_either_way_and_zeros_stay():
    x = torch.randn(200, 33, requires_grad=True)
    expected, slope = F.normalize(x, dim=1), torch.randn(200, 33)
    (grad,) = torch.autograd.grad(expected, x, slope)
    for way in (unit_rows, lambda x: F.normalize(moderate(x), dim=1)):
        assert torch.equal(way(x), expected)
        assert torch.equal(torch.autograd.grad(way(x), x, slope)[0], grad)
    mixed = torch.cat([x.detach(), torch.zeros(1, 33), torch.full((1, 33), torch.nan)]).requires_grad_()
    out = unit_rows(mixed)
    assert torch.equal(out[:200], expected)
    assert out[200].eq(0).all()
    assert out[201].isnan().all()
    assert torch.autograd.grad(out[:201].sum(), mixed)[0][200].eq(0).all()
    assert torch.vmap(unit_rows)(mixed[:200].view(10, 20, 33)).shape == (10, 20, 33)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_rows_of_any_length(name):
    x = features()
    expected = LOSSES[name](x)
    scale = torch.tensor([1e-20, 1e20, 1, 1e-30, 1e30, 1e-13]).unsqueeze(1)
    torch.testing.assert_close(LOSSES[name](x * scale), expected, atol=1e-5, rtol=1e-5)


def test_spectral_loss_shortens_the_longest_rows():
    x = features()
    scale = torch.tensor([1e20, 1e30, 1e3, 1e4, 1e5, 1e6]).unsqueeze(1)
    expected = functional.spectral_contrastive_loss(x * 1e3, EDGES)
    torch.testing.assert_close(functional.spectral_contrastive_loss(x * scale, EDGES), expected)


@pytest.mark.parametrize("edges", [None, torch.cat([EDGES, EDGES.roll(1, 1)], 1)])
@pytest.mark.parametrize("batch", [False, True])
def test_uniformity_repels_long_rows(edges, batch):
    graph = torch.zeros(6, dtype=torch.long) if batch else None
    x = features() * 1e20
    out = nn.UniformityConv()(x, edges, graph)
    torch.testing.assert_close(out, nn.UniformityConv()(x.double(), edges, graph).float())
    assert not torch.equal(out, x)
    assert nn.UniformityConv()(features(torch.double) * 1e200, edges, graph).isnan().any(), (
        "beyond float64: NaN is seen"
    )


def test_the_symmetric_update_of_long_rows():
    x = features() * 1e20
    layer = nn.ContrastiveConv(symmetric=True)
    torch.testing.assert_close(layer(x, EDGES), layer(x.double(), EDGES).float())


@pytest.mark.parametrize("length", [1e-25, 1e25])
def test_the_farthest_positive_of_long_and_short_rows(length):
    edges, x = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), features()
    layer = nn.HardestPositiveConv(similarity="distance")
    assert layer.hardest(x * length, edges).tolist() == layer.hardest(x, edges).tolist()
    x[2] = torch.nan
    assert layer(x, edges)[0].isnan().all()


@pytest.mark.parametrize("loss", [functional.nt_xent, functional.alignment_loss, functional.spectral_contrastive_loss])
def test_edge_weights_are_real_and_not_negative(loss):
    for weight in (torch.tensor([1.0, 1, 1, -1, -1, -1]), torch.full((6,), torch.nan), torch.full((6,), torch.inf)):
        with pytest.raises(ValueError, match="expects edge_weight as finite numbers >= 0, got"):
            loss(features(), EDGES, edge_weight=weight)
    with pytest.raises(
        ValueError, match=r"edge_weight as one real number for each of 6 edges, got \(6,\) of complex64"
    ):
        loss(features(), EDGES, edge_weight=torch.ones(6, dtype=torch.complex64))
    assert loss(features(), EDGES, edge_weight=torch.zeros(6)).isfinite()


def test_normalized_alignment_expects_weights_that_are_not_negative():
    weight = torch.tensor([1.0, -1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="use normalize=False for signed weights"):
        nn.AlignmentConv()(features(), EDGES, weight)
    assert nn.AlignmentConv(normalize=False)(features(), EDGES, weight).isfinite().all()


@pytest.mark.parametrize("name", BACKWARD)
def test_backward_within_autocast(name):
    x, expected = features().requires_grad_(), features().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        BACKWARD[name](x).square().sum().backward()
    BACKWARD[name](expected).square().sum().backward()
    torch.testing.assert_close(x.grad, expected.grad)


@pytest.mark.parametrize("name", FORWARD)
def test_forward_mode(name):
    call, x, v = FORWARD[name], features(torch.double), features(torch.double, 1)
    expected = (call(x + 1e-6 * v) - call(x - 1e-6 * v)) / 2e-6
    torch.testing.assert_close(torch.func.jvp(call, (x,), (v,))[1], expected, atol=1e-8, rtol=1e-7)
    jacobian = torch.func.jacfwd(call)(x)
    torch.testing.assert_close(torch.einsum("...ij,ij->...", jacobian, v), expected, atol=1e-8, rtol=1e-7)


def test_losses_with_a_precomputed_gradient_refuse_forward_mode():
    for loss in LOSSES.keys() & {"nt_xent", "alignment_loss", "uniformity_loss"}:
        with pytest.raises(RuntimeError):
            torch.func.jvp(LOSSES[loss], (features(),), (features(),))


@pytest.mark.parametrize("edges", [None, EDGES])
def test_batch_beside_edges_is_checked(edges):
    x, layer = features(), nn.UniformityConv()
    torch.testing.assert_close(layer(x, EDGES, BATCH), layer(x, EDGES))
    with pytest.raises(ValueError, match="6 repelling edges between different graphs"):
        layer(x, EDGES, torch.arange(6))
    with pytest.raises(ValueError, match="6 repelling edges between different graphs"):
        nn.ContrastiveConv(repel="affinity")(x, EDGES, EDGES, torch.arange(6))
    with pytest.raises(ValueError, match=r"batch as integers of shape \(6,\), the graph of each node"):
        layer(x, edges, BATCH[:3])
    with pytest.raises(ValueError, match="integers"):
        layer(x, edges, BATCH.float())
    with pytest.raises(ValueError, match="one set of nodes"):
        layer((x, x), edges, BATCH)


def test_integer_features_are_one_line():
    for layer in (nn.ContraNorm(4), nn.ContraNorm(4, linear=True)):
        for x in (features().long(), features(torch.complex64), features()[0]):
            with pytest.raises(ValueError, match="ContraNorm expects x as floating-point features"):
                layer(x)
    for stages in (features().long().view(2, 3, 4), features(torch.complex64).view(2, 3, 4), features()):
        with pytest.raises(ValueError, match="StageAggregation expects stages as floating-point features"):
            nn.StageAggregation()(stages)
    with pytest.raises(ValueError, match="expects seen of shape"):
        nn.StageAggregation()(features().view(2, 3, 4), torch.ones(2, 1))


@pytest.mark.parametrize("mode", ["fixed", "learned", "attention"])
def test_a_stage_without_a_share_may_hold_anything_and_any_other_nan_is_seen(mode):
    present, past = features().requires_grad_(), torch.full((6, 4), torch.nan)
    layer = nn.StageAggregation(mode=mode)
    seen = torch.tensor([[True] * 6, [False] * 5 + [True]])
    out = layer(torch.stack([present, past]), seen)
    torch.testing.assert_close(out[:5], F.normalize(present, dim=1)[:5])
    assert out[5].isnan().all()
    assert torch.autograd.grad(out[:5].sum(), present)[0][:5].isfinite().all()


@pytest.mark.parametrize("linear", [False, True])
def test_contranorm_of_stacked_graphs(linear):
    x, layer = torch.randn(3, 5, 4), nn.ContraNorm(4, linear=linear)
    torch.testing.assert_close(layer(x), torch.stack([layer(part) for part in x]))
    with pytest.raises(ValueError, match="beside batch"):
        layer(x, torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("loss", [functional.nt_xent, functional.spectral_contrastive_loss])
def test_compiled_losses_check_the_edges_where_they_run(loss):
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="aot_eager")
    torch.testing.assert_close(compiled(features(), EDGES), loss(features(), EDGES))
    with pytest.raises(ValueError, match="counted from 0, got 10"):
        compiled(features(), EDGES + 5)
