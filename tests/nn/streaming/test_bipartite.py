import math

import pytest
import torch

from cl_as_gnn.nn.streaming import bipartite, softmax_bipartite, softmax_over_keys, tiles


@pytest.mark.parametrize("chunk", [None, 7, 4096])
def test_equals_autograd(monkeypatch, chunk):
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 33 * 20)
    torch.manual_seed(0)
    q, k = (torch.randn(n, 6, dtype=torch.double, requires_grad=True) for n in (50, 33))
    weight = torch.rand(50, dtype=torch.double)
    lse = (q @ k.t() / 0.3).logsumexp(1)
    (weight * lse).sum().backward()
    found, to_query, to_key = softmax_bipartite(q, k, 0.3, weight, chunk=chunk)
    torch.testing.assert_close(found, lse.detach())
    torch.testing.assert_close(to_query / 0.3, q.grad)
    torch.testing.assert_close(to_key / 0.3, k.grad)
    fixed = softmax_over_keys(q, k, 0.3, chunk=chunk)
    torch.testing.assert_close(fixed, softmax_bipartite(q, k, 0.3, chunk=chunk)[:2], rtol=0, atol=0)


def test_without_keys_nothing_is_sent():
    lse, to_query, to_key = softmax_bipartite(torch.ones(2, 3), torch.ones(0, 3))
    assert lse.tolist() == [-math.inf] * 2
    assert to_query.tolist() == [[0, 0, 0]] * 2
    assert to_key.shape == (0, 3)
    for found, expected in zip(softmax_over_keys(torch.ones(2, 3), torch.ones(0, 3)), (lse, to_query), strict=True):
        assert torch.equal(found, expected)


def test_keys_of_several_ranks(monkeypatch):
    torch.manual_seed(0)
    q, parts = torch.randn(5, 4).double(), [torch.randn(n, 4).double() for n in (3, 0, 7)]
    alone = [softmax_over_keys(q, part, 0.1) for part in parts]
    monkeypatch.setattr(bipartite, "gather_rows", lambda lse: torch.stack([lse for lse, _ in alone]))
    sent = []
    monkeypatch.setattr(bipartite, "total", lambda message: sent.append(message) or message)
    for part in parts:
        lse, _ = softmax_over_keys(q, part, 0.1, shared=True)
        torch.testing.assert_close(lse, softmax_over_keys(q, torch.cat(parts), 0.1)[0])
    torch.testing.assert_close(sum(sent), softmax_over_keys(q, torch.cat(parts), 0.1)[1])
