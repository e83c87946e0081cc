import math

import pytest
import torch

from cl_as_gnn.nn.streaming import attention, pairwise_attention, tiles


def dense(q, k, v, temperature, loops, batch):
    """The formula on the full matrix."""
    logits = q @ k.t() / temperature
    if not loops:
        logits = logits.masked_fill(torch.eye(len(q), dtype=torch.bool), -math.inf)
    if batch is not None:
        logits = logits.masked_fill(batch[:, None] != batch[None], -math.inf)
    return logits.softmax(1).nan_to_num(0.0) @ v


@pytest.mark.parametrize("strip", [2**24, 8 * 64])
@pytest.mark.parametrize("graphs", [True, False])
def test_values_and_gradients_equal_the_formula(monkeypatch, strip, graphs):
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), strip)
    torch.manual_seed(0)
    q, k, v = (torch.randn(17, d, dtype=torch.double, requires_grad=True) for d in (4, 4, 3))
    batch = torch.arange(17) // 6 if graphs else None
    grad = torch.randn(17, 3, dtype=torch.double)
    expected = dense(q, k, v, 0.4, False, batch)
    wanted = torch.autograd.grad(expected, (q, k, v), grad)
    found = pairwise_attention(q, k, v, 0.4, batch=batch)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    for a, b in zip(torch.autograd.grad(found, (q, k, v), grad), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def test_two_sets_of_nodes():
    torch.manual_seed(0)
    q, k, v = torch.randn(5, 4), torch.randn(9, 4), torch.randn(9, 2)
    torch.testing.assert_close(pairwise_attention(q, k, v, loops=True), dense(q, k, v, 1.0, True, None))
    with pytest.raises(ValueError, match="5 queries and 9 keys"):
        pairwise_attention(q, k, v)


def test_a_lone_node_receives_nothing():
    x = torch.randn(3, 2, requires_grad=True)
    out = pairwise_attention(x, x, x, batch=torch.tensor([0, 1, 1]))
    assert out[0].tolist() == [0, 0]
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    x = torch.randn(20, 4).to(torch.bfloat16)
    out = pairwise_attention(x, x, x, 0.05)
    assert out.dtype == torch.bfloat16
    wide = x.float()
    torch.testing.assert_close(out, pairwise_attention(wide, wide, wide, 0.05).to(torch.bfloat16))


def test_opcheck():
    x = torch.randn(6, 3, requires_grad=True)
    torch.library.opcheck(attention._attention, (x, x, x, 0.5, False, None))


@pytest.mark.parametrize("loops", [True, False])
def test_graphs_in_any_order_and_of_any_size_are_strips_of_their_own(monkeypatch, loops):
    """Small graphs share a strip, a large one has several."""
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 5 * 30)
    torch.manual_seed(0)
    batch = torch.repeat_interleave(torch.arange(7), torch.tensor([1, 3, 0, 17, 2, 1, 6]))[torch.randperm(30)]
    q, k, v = (torch.randn(30, d, dtype=torch.double, requires_grad=True) for d in (4, 4, 3))
    expected = dense(q, k, v, 0.4, loops, batch)
    found = pairwise_attention(q, k, v, 0.4, loops=loops, batch=batch)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    grad = torch.randn(30, 3, dtype=torch.double)
    wanted = torch.autograd.grad(expected, (q, k, v), grad)
    torch.testing.assert_close(torch.autograd.grad(found, (q, k, v), grad), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("length", [1, 4])
def test_a_batch_of_another_length_is_one_line(length):
    x = torch.randn(3, 2)
    with pytest.raises(ValueError, match=r"batch as integers of shape \(3,\), the graph of each node"):
        pairwise_attention(x, x, x, batch=torch.zeros(length, dtype=torch.long))
