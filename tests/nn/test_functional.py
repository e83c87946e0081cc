"""NT-Xent against a literal transcription of its formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import nt_xent


def literal(x, edge_index, temperature, weight=None, batch=None):
    """The formula, pair by pair."""
    z = F.normalize(x, dim=1)
    total, norm = 0.0, 0.0
    for e, (i, j) in enumerate(edge_index.t().tolist()):
        others = [k for k in range(len(z)) if k != i and (batch is None or batch[k] == batch[i])]
        log_sum = torch.stack([z[i] @ z[k] / temperature for k in others]).logsumexp(0)
        w = 1.0 if weight is None else weight[e]
        total = total - w * (z[i] @ z[j] / temperature - log_sum)
        norm = norm + w
    return total / norm


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5, 1.0])
def test_equals_the_formula_in_value_and_gradient(temperature):
    torch.manual_seed(0)
    x = torch.randn(14, 5, dtype=torch.double, requires_grad=True)
    edges = augmentation_edges(7, 2, torch.device("cpu"))
    expected = literal(x, edges, temperature)
    (grad,) = torch.autograd.grad(expected, x)
    loss = nt_xent(x, edges[:, torch.randperm(14)], temperature)
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-9
    torch.testing.assert_close(x.grad, grad, atol=1e-9, rtol=1e-9)


def test_several_weighted_positives_and_nodes_without_any():
    torch.manual_seed(1)
    x = torch.randn(9, 4, dtype=torch.double, requires_grad=True)
    edges = torch.tensor([[0, 0, 1, 3, 5, 5, 5], [1, 2, 0, 4, 6, 7, 0]])
    weight = torch.rand(7, dtype=torch.double)
    expected = literal(x, edges, 0.3, weight)
    (grad,) = torch.autograd.grad(expected, x)
    loss = nt_xent(x, edges, 0.3, weight)
    loss.backward()
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(x.grad, grad, atol=1e-10, rtol=0)


def test_batch_keeps_graphs_apart():
    torch.manual_seed(2)
    x = torch.randn(10, 4, dtype=torch.double, requires_grad=True)
    batch = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    edges = torch.tensor([[0, 1, 4, 6], [1, 0, 5, 7]])
    expected = literal(x, edges, 0.5, batch=batch)
    (grad,) = torch.autograd.grad(expected, x)
    loss = nt_xent(x, edges, 0.5, batch=batch)
    loss.backward()
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(x.grad, grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("n", [510, 514, 1026])
def test_sizes_that_are_no_multiple_of_a_tile(n):
    torch.manual_seed(n)
    x = torch.randn(n, 6, dtype=torch.double, requires_grad=True)
    edges = augmentation_edges(n // 2, 2, torch.device("cpu"))
    logits = F.normalize(x, dim=1) @ F.normalize(x, dim=1).t() / 0.2
    logits = logits.masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(logits, torch.arange(n).roll(n // 2))
    (grad,) = torch.autograd.grad(expected, x)
    loss = nt_xent(x, edges, 0.2)
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-9
    torch.testing.assert_close(x.grad, grad, atol=1e-9, rtol=1e-9)


def test_half_precision_input_gives_a_finite_float32_loss():
    x = torch.randn(32, 8, dtype=torch.bfloat16, requires_grad=True)
    edges = augmentation_edges(16, 2, torch.device("cpu"))
    loss = nt_xent(x, edges, 0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert x.grad.isfinite().all()
    torch.testing.assert_close(loss, nt_xent(x.float(), edges, 0.01))


@pytest.mark.parametrize(
    ("x", "edges", "temperature", "message"),
    [
        (torch.ones(4, 2), torch.empty(2, 0, dtype=torch.long), 0.5, "no positive edges"),
        (torch.ones(4, 2), torch.tensor([[0], [1]]), 0.0, "positive temperature, got 0"),
        (torch.ones(4), torch.tensor([[0], [1]]), 0.5, r"shape \(n, d\)"),
    ],
)
def test_errors_name_the_value(x, edges, temperature, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(x, edges, temperature)
