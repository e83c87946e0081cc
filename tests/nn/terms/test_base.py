"""The law: a term's message is minus the gradient of its value, in float64 to 1e-10."""

import math

import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.operators import Adjacency
from cl_as_gnn.nn.terms import Attraction, SoftmaxRepulsion
from cl_as_gnn.nn.terms.base import objective


def unit(n, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, dtype=torch.double, generator=generator), dim=1)


def gradient(value, x):
    (grad,) = torch.autograd.grad(value, x)
    return grad


def test_attraction_within_the_views():
    x = unit(8).requires_grad_()
    edges = torch.tensor([[0, 1, 2, 5], [3, 0, 2, 1]])
    weight = torch.tensor([0.2, 1.0, 0.5, 2.0], dtype=torch.double)
    value, message = Attraction(Adjacency(edges, weight, 8), 0.3)(x.detach())
    expected = -sum(w * x[i] @ x[j] for w, j, i in zip(weight, *edges, strict=True)) / (weight.sum() * 0.3)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(message, -gradient(expected, x), atol=1e-10, rtol=0)


def test_attraction_from_fixed_sources_sends_nothing_back():
    x, y = unit(5).requires_grad_(), unit(7, seed=1)
    edges = torch.tensor([[6, 0, 3, 3], [0, 1, 4, 2]])
    value, message = Attraction(Adjacency(edges, num_nodes=(7, 5)), 1.0, y)(x.detach())
    expected = -(x[edges[1]] * y[edges[0]]).sum() / 4
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(message, -gradient(expected, x), atol=1e-10, rtol=0)


def test_softmax_repulsion():
    x = unit(9).requires_grad_()
    weight = torch.rand(9, dtype=torch.double)
    value, message = SoftmaxRepulsion(0.2, weight)(x.detach())
    logits = (x @ x.t() / 0.2).masked_fill(torch.eye(9, dtype=torch.bool), -math.inf)
    expected = (weight * logits.logsumexp(1)).sum() / weight.sum()
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(message, -gradient(expected, x), atol=1e-10, rtol=0)


def test_nt_xent_is_a_graph_convolution_minus_attention():
    """∂L/∂x = −c (A x − ½ (P + Pᵀ) x) with c = 2 / (n τ), the statement of the README."""
    n, temperature = 12, 0.4
    x = unit(n)
    edges = augmentation_edges(n // 2, 2, x.device)
    graph = Adjacency(edges, num_nodes=n)
    _, attract = Attraction(graph, temperature)(x)
    _, repel = SoftmaxRepulsion(temperature)(x)
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)
    share = logits.softmax(1)
    rule = graph.matmul(x) - 0.5 * (share + share.t()) @ x
    torch.testing.assert_close(attract + repel, 2 / (n * temperature) * rule, atol=1e-10, rtol=0)


def test_backward_hands_the_message_over():
    x = unit(8)
    weight = torch.randn(8, 6, dtype=torch.double, requires_grad=True)
    features = x * weight
    terms = [Attraction(Adjacency(augmentation_edges(4, 2, x.device), num_nodes=8)), SoftmaxRepulsion(0.5, unit=False)]
    loss = objective(features, *terms)
    (3 * loss).backward()
    message = sum(term(features.detach())[1] for term in terms)
    torch.testing.assert_close(weight.grad, -3 * message * x)
