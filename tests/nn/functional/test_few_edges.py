"""NT-Xent along few edges, which are counted apart from the tiles: exact also where the softmax has converged."""

import math

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import alignment_loss, nt_xent


def literal(x, edges, temperature, weight, batch):
    z, out = F.normalize(x, dim=1), torch.eye(len(x), dtype=torch.bool)
    if batch is not None:
        out = out | (batch[:, None] != batch)
    logits = z @ z.t() / temperature
    source, anchor = edges
    gap = logits.masked_fill(out, -math.inf).logsumexp(1)[anchor] - logits[anchor, source]
    return (weight * gap).sum() / weight.sum()


@pytest.mark.parametrize("temperature", [0.01, 0.3])
@pytest.mark.parametrize("chunk", [None, 2])
def test_edges_may_repeat_run_one_way_and_return_to_their_node(chunk, temperature):
    x = torch.randn(9, 4, dtype=torch.double, generator=torch.Generator().manual_seed(3)).requires_grad_()
    edges = torch.tensor([[0, 0, 1, 3, 5, 5, 8, 2, 2, 4, 4], [1, 1, 0, 4, 6, 0, 1, 2, 7, 3, 3]])
    weight, batch = torch.rand(11, dtype=torch.double), torch.tensor([0, 0, 1, 0, 0, 0, 0, 1, 0])
    for groups in (None, batch):
        expected = literal(x, edges, temperature, weight, groups)
        loss = nt_xent(x, edges, temperature, weight, groups, chunk)
        torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)
        grads = [torch.autograd.grad(value, x)[0] for value in (loss, expected)]
        torch.testing.assert_close(*grads, atol=1e-9, rtol=1e-9)


def test_a_loop_of_a_node_alone_in_its_graph_has_a_gradient():
    x = F.normalize(torch.randn(3, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0)), dim=1)
    edges, batch = torch.tensor([[1, 0], [1, 2]]), torch.tensor([0, 1, 0])
    assert torch.autograd.gradcheck(lambda x: nt_xent(x, edges, 0.2, batch=batch), x.requires_grad_())


@pytest.mark.parametrize("temperature", [0.01, 0.05])
def test_float32_keeps_its_digits_where_the_softmax_has_converged(temperature):
    """1 − p is computed from the other nodes, not as a difference: below 1e-9 here, where p is 1 in float32."""
    a = F.normalize(torch.randn(96, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    x = torch.cat([a, a + 0.01 * torch.randn(96, 32, generator=torch.Generator().manual_seed(1))])
    edges, parts = augmentation_edges(96, 2, torch.device("cpu")), []
    for dtype in (torch.float32, torch.float64):
        z = x.to(dtype).requires_grad_()
        loss = nt_xent(z, edges, temperature)
        parts.append((loss.item(), torch.autograd.grad(loss, z)[0].double()))
    (value, grad), (true, wanted) = parts
    assert 0 < value < 1e-3
    assert value == pytest.approx(true, rel=2e-5)
    assert (grad - wanted).norm() < 2e-5 * wanted.norm()


@pytest.mark.parametrize("loss", [nt_xent, alignment_loss])
def test_without_a_positive_the_loss_is_zero(loss):
    x = torch.randn(5, 3, requires_grad=True)
    for features in (x, (x, x)):
        value = loss(features, torch.empty(2, 0, dtype=torch.long))
        assert str(value.item()) == "0.0"
        assert torch.autograd.grad(value, x)[0].abs().max() == 0
