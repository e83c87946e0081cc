"""The streamed operator against dense tensors: same values, same gradients, nothing n × n kept."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_as_gnn.nn.streaming import softmax_all_pairs, tiles
from cl_as_gnn.nn.streaming.all_pairs import _softmax_all_pairs


def dense(x, temperature, weight, batch=None):
    """Log-partition and gradient of its weighted sum, by autograd on the full matrix."""
    x = x.clone().requires_grad_()
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)
    if batch is not None:
        logits = logits.masked_fill(batch[:, None] != batch[None], -math.inf)
    lse = logits.logsumexp(1)
    keep = lse > -math.inf
    (weight * lse)[keep].sum().backward()
    return lse.detach(), x.grad * temperature


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 512, 513, 1100])
def test_streamed_equals_dense(n, temperature, unit):
    torch.manual_seed(n)
    x = torch.randn(n, 9, dtype=torch.double)
    x = F.normalize(x, dim=1) if unit else 0.3 * x
    weight = torch.rand(n, dtype=torch.double)
    expected_lse, expected = dense(x, temperature, weight)
    lse, message = softmax_all_pairs(x, temperature, weight, unit=unit)
    torch.testing.assert_close(lse, expected_lse, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(message, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("tile", [None, 64, 2000])
def test_graphs_of_a_batch_do_not_see_each_other(unit, shuffled, tile):
    torch.manual_seed(0)
    batch = torch.arange(4).repeat_interleave(torch.tensor([300, 1, 500, 350]))
    if shuffled:
        batch = batch[torch.randperm(len(batch))]
    x = F.normalize(torch.randn(len(batch), 5, dtype=torch.double), dim=1)
    weight = torch.rand(len(batch), dtype=torch.double)
    expected_lse, expected = dense(x, 0.2, weight, batch)
    lse, message = softmax_all_pairs(x, 0.2, weight, batch, unit=unit, tile=tile)
    torch.testing.assert_close(lse, expected_lse, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(message, expected, atol=1e-10, rtol=1e-10)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), seed=st.integers(0, 1000), temperature=st.floats(0.01, 5))
def test_permutation_equivariance(n, seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(n, 4, dtype=torch.double, generator=generator), dim=1)
    order = torch.randperm(n, generator=generator)
    lse, message = softmax_all_pairs(x, temperature, unit=True)
    lse_moved, message_moved = softmax_all_pairs(x[order], temperature, unit=True)
    torch.testing.assert_close(lse_moved, lse[order])
    torch.testing.assert_close(message_moved, message[order])


@pytest.mark.parametrize(("temperature", "tolerance"), [(0.5, 1e-6), (0.1, 3e-6), (0.01, 3e-5)])
def test_float32_is_accurate_at_every_temperature(temperature, tolerance):
    torch.manual_seed(0)
    x = F.normalize(torch.randn(1500, 64, dtype=torch.double), dim=1)
    _, expected = softmax_all_pairs(x, temperature, unit=True)
    lse, message = softmax_all_pairs(x.float(), temperature, unit=True)
    assert lse.isfinite().all()
    assert (message.double() - expected).norm() / expected.norm() < tolerance


@pytest.mark.parametrize(("temperature", "tolerance"), [(0.5, 2e-3), (0.1, 1e-2), (0.01, 3e-5)])
def test_autocast_uses_bf16_only_where_it_is_accurate(temperature, tolerance):
    torch.manual_seed(0)
    x = F.normalize(torch.randn(1500, 64, dtype=torch.double), dim=1)
    positives = 2 * x.roll(750, 0)
    _, expected = softmax_all_pairs(x, temperature, unit=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, message = softmax_all_pairs(x.float(), temperature, unit=True)
    error = (message - expected).norm() / (expected - positives).norm()
    assert message.dtype == torch.float32
    assert error < tolerance
    if temperature >= 0.1:
        assert error > 1e-6, "the products run in bf16"


def test_no_square_tensor_is_made(monkeypatch):
    """The largest tensor made on the way is a tile."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for value in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(value, torch.Tensor):
                    Largest.seen = max(Largest.seen, value.numel())
            return out

    monkeypatch.setitem(tiles.BYTES, ("cpu", "square"), 4 * 64**2)
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 0)
    x = F.normalize(torch.randn(1000, 8), dim=1)
    with Largest():
        _softmax_all_pairs(x, torch.ones(1000), None, 0.5, True, False)
    assert 0 < Largest.seen <= 1000 * 8


@pytest.mark.parametrize("unit", [True, False])
def test_few_pairs_are_visited_once_and_many_twice_with_one_result(unit, monkeypatch):
    torch.manual_seed(0)
    x = F.normalize(torch.randn(700, 8, dtype=torch.double), dim=1)
    weight = torch.rand(700, dtype=torch.double)
    products = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *args, **kw: products.append(1) or mm(*args, **kw))
    once = softmax_all_pairs(x, 0.3, weight, unit=unit)
    assert len(products) == 3
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 0)
    twice = softmax_all_pairs(x, 0.3, weight, unit=unit)
    assert len(products) == 9
    torch.testing.assert_close(once, twice, rtol=1e-12, atol=1e-12)


def test_one_node_and_wrong_temperature():
    lse, message = softmax_all_pairs(torch.ones(1, 3), 0.5)
    assert lse.tolist() == [-math.inf]
    assert message.tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(ValueError, match="positive, got 0"):
        softmax_all_pairs(torch.ones(2, 3), 0)


def test_compiles_into_one_graph():
    x = F.normalize(torch.randn(20, 4), dim=1)
    compiled = torch.compile(lambda y: softmax_all_pairs(y, 0.5, unit=True)[1], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), softmax_all_pairs(x, 0.5, unit=True)[1])
