import pytest
import torch

from cl_as_gnn.nn.streaming import linear_attention

BATCH = torch.tensor([0, 2, 0, 2, 2, 0, 4, 2, 2, 2, 0])  # unsorted, with graphs of no nodes


def dense(q, k, v, batch):
    scores = q @ k.t()
    if batch is not None:
        scores = scores * (batch[:, None] == batch[None])
    return scores @ v


@pytest.mark.parametrize("batch", [None, BATCH])
def test_values_and_gradients_equal_the_formula(batch):
    torch.manual_seed(0)
    q, k, v = (torch.randn(11, d, dtype=torch.double, requires_grad=True) for d in (3, 3, 5))
    torch.testing.assert_close(linear_attention(q, k, v, batch), dense(q, k, v, batch), atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(lambda *t: linear_attention(*t, batch), (q, k, v))
    assert torch.autograd.gradgradcheck(lambda *t: linear_attention(*t, batch), (q, k, v))


def test_two_sets_and_opcheck():
    q, k, v = torch.randn(2, 3), torch.randn(7, 3), torch.randn(7, 4)
    torch.testing.assert_close(linear_attention(q, k, v), dense(q, k, v, None))
    q, k, v = (torch.randn(11, 3, requires_grad=True) for _ in range(3))
    torch.library.opcheck(torch.ops.cl_as_gnn.linear_attention.default, (q, k, v, BATCH))
