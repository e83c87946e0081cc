import math

import pytest
import torch

from cl_as_gnn.nn.streaming import softmax_bipartite, tiles


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


def test_without_keys_nothing_is_sent():
    lse, to_query, to_key = softmax_bipartite(torch.ones(2, 3), torch.ones(0, 3))
    assert lse.tolist() == [-math.inf] * 2
    assert to_query.tolist() == [[0, 0, 0]] * 2
    assert to_key.shape == (0, 3)
