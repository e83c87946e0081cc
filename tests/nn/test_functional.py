"""Losses on graphs of positives against literal transcriptions of their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn import functional
from cl_as_gnn.nn.functional import alignment_loss, nt_xent, spectral_contrastive_loss, uniformity_loss


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


EDGES = torch.tensor([[0, 0, 1, 3, 5, 5, 5], [1, 2, 0, 4, 6, 7, 0]])
BATCH = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])


def compare(loss, expected, *features):
    """Value and gradients, to 1e-10."""
    wanted = torch.autograd.grad(expected, features, retain_graph=True)
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    for found, grad in zip(torch.autograd.grad(3 * loss, features), wanted, strict=True):
        torch.testing.assert_close(found, 3 * grad, atol=1e-10, rtol=0)


def features(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.double, generator=generator).requires_grad_()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strip", [2**22, 20])
def test_between_two_sets_it_is_info_nce(monkeypatch, weighted, strip):
    monkeypatch.setattr(functional, "_STRIP", strip)
    anchor, positive = features(6, 4, 0), features(9, 4, 1)
    edges = torch.tensor([[0, 0, 1, 5, 5], [8, 2, 2, 0, 3]])
    weight = torch.rand(5, dtype=torch.double) if weighted else torch.ones(5, dtype=torch.double)
    logits = F.normalize(anchor, dim=1) @ F.normalize(positive, dim=1).t() / 0.2
    expected = (weight * (logits.logsumexp(1)[edges[0]] - logits[edges[0], edges[1]])).sum() / weight.sum()
    loss = nt_xent((anchor, positive), edges, 0.2, weight if weighted else None)
    compare(loss, expected, anchor, positive)
    with pytest.raises(ValueError, match="batch=None for a pair"):
        nt_xent((anchor, positive), edges, batch=BATCH)


def test_both_directions_are_clip():
    image, text = features(7, 4, 0), features(7, 4, 1)
    logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).t() / 0.3
    expected = (F.cross_entropy(logits, torch.arange(7)) + F.cross_entropy(logits.t(), torch.arange(7))) / 2
    pairs = torch.arange(7).repeat(2, 1)
    compare(
        (nt_xent((image, text), pairs, 0.3) + nt_xent((text, image), pairs.flip(0), 0.3)) / 2, expected, image, text
    )


@pytest.mark.parametrize("alpha", [1, 2, 3.5])
@pytest.mark.parametrize("strip", [2**22, 8])
def test_alignment_loss_is_the_formula(monkeypatch, alpha, strip):
    monkeypatch.setattr(functional, "_STRIP", strip)
    x, weight = features(9, 4, 2), torch.rand(7, dtype=torch.double)
    z = F.normalize(x, dim=1)
    distance = torch.stack([(z[i] - z[j]).norm() for i, j in EDGES.t().tolist()])
    compare(alignment_loss(x, EDGES, alpha), distance.pow(alpha).mean(), x)
    compare(alignment_loss(x, EDGES, alpha, weight), (weight * distance.pow(alpha)).sum() / weight.sum(), x)


def test_pairs_that_have_met_have_no_alignment_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    alignment_loss(x, torch.tensor([[0], [1]]), alpha=1).backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("t", [0.5, 2, 50])
def test_uniformity_loss_is_the_formula(t):
    x = features(9, 4, 3)
    z = F.normalize(x, dim=1)
    compare(uniformity_loss(x, t), torch.pdist(z).square().mul(-t).exp().mean().log(), x)
    inside = [(i, j) for i in range(9) for j in range(9) if i != j and BATCH[i] == BATCH[j]]
    near = torch.stack([(-t * (z[i] - z[j]).square().sum()).exp() for i, j in inside])
    compare(uniformity_loss(x, t, BATCH), near.mean().log(), x)


@pytest.mark.parametrize("mu", [1.0, 4.0])
def test_spectral_contrastive_loss_is_the_formula(mu):
    x, weight = features(9, 4, 4), torch.rand(7, dtype=torch.double)
    length = x.norm(dim=1, keepdim=True)
    z = torch.where(length < mu**0.5, x, mu**0.5 * x / length)
    assert 0 < (length < mu**0.5).sum() < 9 or mu == 1.0
    positive = sum(w * (z[i] @ z[j]) for (i, j), w in zip(EDGES.t().tolist(), weight, strict=True)) / weight.sum()
    for batch in (None, BATCH):
        inside = [(i, j) for i in range(9) for j in range(9) if i != j and (batch is None or batch[i] == batch[j])]
        negative = torch.stack([(z[i] @ z[j]).square() for i, j in inside]).mean()
        loss = spectral_contrastive_loss(x, EDGES, mu, weight, batch)
        compare(loss, (negative - 2 * positive) / mu, x)


@pytest.mark.parametrize(
    "name", ["alignment_loss", "nt_xent", "nt_xent_pair", "spectral_contrastive_loss", "uniformity_loss"]
)
def test_the_largest_tensor_is_no_matrix_of_all_pairs(monkeypatch, name):
    """A strip is bounded whatever n: at n = 20,000 no more than 16 MB, next to features of 10 MB."""
    monkeypatch.setattr(functional, "_STRIP", 2**15)
    n, d = 1600, 16
    x, other = torch.randn(n, d, requires_grad=True), torch.randn(n, d, requires_grad=True)
    edges = augmentation_edges(n // 2, 2, x.device)
    losses = {
        "alignment_loss": lambda: alignment_loss(x, edges),
        "nt_xent": lambda: nt_xent(x, edges),
        "nt_xent_pair": lambda: nt_xent((x, other), edges),
        "spectral_contrastive_loss": lambda: spectral_contrastive_loss(x, edges),
        "uniformity_loss": lambda: uniformity_loss(x),
    }
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        losses[name]().backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events()) // x.element_size()
    assert n * d <= largest <= max(512**2, 2 * n * d)  # a tile of the triangle, or both sets of features
    assert max(512**2, 2 * n * d) < n * n // 8


@pytest.mark.parametrize("loss", [alignment_loss, spectral_contrastive_loss, lambda x, edges: uniformity_loss(x)])
def test_half_precision_is_computed_in_float32(loss):
    x = torch.randn(32, 8, dtype=torch.bfloat16, requires_grad=True)
    edges = augmentation_edges(16, 2, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(x, edges)
    value.backward()
    assert value.dtype == torch.float32
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, e: alignment_loss(x, e[:, :0]), "alignment_loss got no positive edges"),
        (lambda x, e: alignment_loss(x, e, alpha=0), "positive alpha, got 0"),
        (lambda x, e: uniformity_loss(x, -1), "positive t, got -1"),
        (lambda x, e: uniformity_loss(x[:1]), "two nodes or more"),
        (lambda x, e: uniformity_loss(x[0]), r"uniformity_loss wants features of shape \(n, d\), got \(2,\)"),
        (lambda x, e: spectral_contrastive_loss(x, e, mu=0), "positive mu, got 0"),
        (lambda x, e: nt_xent((x, x), e[:, :0]), "nt_xent got no positive edges"),
    ],
)
def test_errors_of_the_siblings_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(4, 2), torch.tensor([[0], [1]]))
