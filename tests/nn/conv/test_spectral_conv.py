import pytest
import torch
from torch_geometric.testing import assert_module

from cl_as_gnn.nn import SpectralConv

EDGES = torch.tensor([[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]])  # node 5 has none


def normalized(edges, n, weight=None):
    a = torch.zeros(n, n, dtype=torch.double)
    a[edges[1], edges[0]] = 1.0 if weight is None else weight
    root = torch.where(a.sum(1) > 0, a.sum(1).rsqrt(), 0)
    return root[:, None] * a * root[None]


def test_equals_the_formula_edge_by_edge():
    torch.manual_seed(0)
    x, weight = torch.randn(6, 3, dtype=torch.double), torch.rand(3, dtype=torch.double).repeat_interleave(2)
    a = normalized(EDGES, 6, weight)
    expected = x.clone()
    for i in range(6):
        for j in range(6):
            expected[i] += 0.3 * (a[i, j] * x[j] - (x[i] @ x[j]) * x[j] / 6)
    torch.testing.assert_close(SpectralConv(0.3)(x, EDGES, weight), expected, atol=1e-12, rtol=0)


def test_is_a_gradient_step_on_the_spectral_energy():
    torch.manual_seed(1)
    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    energy = (x.t() @ x).square().sum() / 24 - torch.trace(x.t() @ normalized(EDGES, 6) @ x) / 2
    (grad,) = torch.autograd.grad(energy, x)
    torch.testing.assert_close(SpectralConv(0.3)(x, EDGES), x - 0.3 * grad, atol=1e-10, rtol=0)


def test_its_fixed_point_spans_the_leading_eigenvectors():
    torch.manual_seed(2)
    ring = torch.stack([torch.arange(7), torch.arange(7).roll(1)])
    ring = torch.cat([ring, ring.flip(0)], dim=1)
    x, conv = torch.randn(7, 3, dtype=torch.double), SpectralConv(0.5)
    for _ in range(400):
        x = conv(x, ring)
    values, vectors = torch.linalg.eigh(normalized(ring, 7))
    top = vectors[:, -3:] * values[-3:]
    torch.testing.assert_close(x @ x.t() / 7, top @ vectors[:, -3:].t(), atol=1e-6, rtol=0)


def test_batch_keeps_graphs_apart_in_any_order():
    torch.manual_seed(3)
    x, conv = torch.randn(9, 4, dtype=torch.double), SpectralConv(0.3)
    batch = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])
    edges = torch.cat([EDGES, torch.tensor([[6, 7], [7, 6]])], dim=1)
    apart = torch.cat([conv(x[:6], EDGES), conv(x[6:], edges[:, 6:] - 6)])
    torch.testing.assert_close(conv(x, edges, batch=batch), apart)
    order = torch.randperm(9)
    moved = conv(x[order], torch.argsort(order)[edges], batch=batch[order])
    torch.testing.assert_close(moved, apart[order])


def test_every_edge_type_and_bipartite():
    x = torch.randn(6, 3)
    assert_module(SpectralConv(), x, EDGES, expected_size=(6, 3), atol=1e-6)
    source, target = torch.randn(6, 3), torch.randn(2, 3)
    out = SpectralConv(0.5, normalize=False)((source, target), torch.tensor([[4], [1]]))
    expected = target - 0.5 * target @ (source.t() @ source) / 6
    expected[1] += 0.5 * source[4]
    torch.testing.assert_close(out, expected)
    with pytest.raises(ValueError, match="got a pair: pass batch=None"):
        SpectralConv()((source, target), EDGES, batch=torch.zeros(2, dtype=torch.long))


def test_gradients():
    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(lambda x: SpectralConv()(x, EDGES, batch=batch), (x,))


def test_repr():
    assert repr(SpectralConv(0.1)) == "SpectralConv(step_size=0.1, normalize=True)"
