import pytest
import torch

from cl_as_gnn.nn.streaming import gaussian_pairs, tiles


@pytest.mark.parametrize("chunk", [None, 3, 100])
@pytest.mark.parametrize("case", ["one set", "graphs", "two sets"])
def test_equals_autograd(monkeypatch, case, chunk):
    """Later strips have larger exponents, so that earlier results are rescaled."""
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 2 * 4 * 23)
    torch.manual_seed(0)
    x = (torch.randn(23, 4, dtype=torch.double) * torch.linspace(3, 0.1, 23)[:, None]).requires_grad_()
    y = torch.randn(9, 4, dtype=torch.double, requires_grad=True) if case == "two sets" else None
    batch = torch.randint(3, (23,)) if case == "graphs" else None
    squared = (x.unsqueeze(1) - (x if y is None else y)).square().sum(2)
    kept = torch.ones_like(squared, dtype=torch.bool) if y is not None else ~torch.eye(23, dtype=torch.bool)
    if batch is not None:
        kept &= batch.unsqueeze(1) == batch
    expected = (-1.5 * squared[kept]).logsumexp(0)
    expected.backward()
    value, to_query, to_key = gaussian_pairs(x.detach(), None if y is None else y.detach(), 1.5, batch, chunk)
    torch.testing.assert_close(value, expected.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(to_query * (-3 if y is not None else -6), x.grad, atol=1e-10, rtol=0)
    if y is not None:
        torch.testing.assert_close(-3 * to_key, y.grad, atol=1e-10, rtol=0)
