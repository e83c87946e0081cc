"""Losses on graphs of positives against literal transcriptions of their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import alignment_loss, nt_xent, spectral_contrastive_loss, uniformity_loss
from cl_as_gnn.nn.streaming import tiles


def literal(x, edge_index, temperature, weight=None, batch=None):
    """The formula, pair by pair."""
    z = F.normalize(x, dim=1)
    total, norm = 0.0, 0.0
    for e, (j, i) in enumerate(edge_index.t().tolist()):
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


def test_positives_are_in_the_graph_of_their_anchor():
    x, edges = torch.randn(5, 4), torch.tensor([[0, 3, 4], [1, 3, 3]])
    with pytest.raises(ValueError, match="1 positive edges between different graphs"):
        nt_xent(x, edges, batch=torch.tensor([0, 0, 0, 1, 2]))
    alone = nt_xent(x, edges[:, :2], batch=torch.tensor([0, 0, 0, 1, 2]))
    assert alone.isfinite(), "a node alone in its graph has nothing to be told apart from"


@pytest.mark.parametrize("loss", [nt_xent, alignment_loss, spectral_contrastive_loss])
def test_any_layout_of_the_features(loss):
    x = features(10, 4, 0)
    edges = augmentation_edges(5, 2, torch.device("cpu"))
    columns = x.detach().t().contiguous().t().requires_grad_()
    assert not columns.is_contiguous()
    value, expected = loss(columns, edges), loss(x, edges)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*torch.autograd.grad(value, columns), *torch.autograd.grad(expected, x))


@pytest.mark.parametrize("loss", [nt_xent, alignment_loss, spectral_contrastive_loss])
def test_edges_that_are_none_are_one_line(loss):
    x, two = torch.randn(6, 4), (torch.randn(2, 4), torch.randn(5, 4))
    edges = torch.tensor([[0, 3, 5], [1, 4, 2]])
    for broken in (edges.float(), edges.t(), edges[0]):
        with pytest.raises(ValueError, match=r"edge_index as integers of shape \(2, E\)"):
            loss(x, broken)
    with pytest.raises(ValueError, match="edge_weight as one real number for each of 3 edges"):
        loss(x, edges, edge_weight=torch.ones(1))
    for pair in (torch.tensor([[1], [5]]), torch.tensor([[2], [0]]), torch.tensor([[-1], [0]])):
        with pytest.raises(ValueError, match="counted from 0"):
            loss(two, pair)
    with pytest.raises(ValueError, match="counted from 0"):
        loss(x, edges + 1)
    with pytest.raises(ValueError, match="got list: pass one tensor, or a tuple of two"):
        loss([x, x], edges)


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


def test_errors_name_the_value():
    edges = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match="temperature as a positive number, got 0"):
        nt_xent(torch.ones(4, 2), edges, 0.0)
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        nt_xent(torch.ones(4), edges)


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
@pytest.mark.parametrize("strip", [2**24, 8 * 20])
def test_between_two_sets_it_is_info_nce(monkeypatch, weighted, strip):
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), strip)
    anchor, positive = features(6, 4, 0), features(9, 4, 1)
    edges = torch.tensor([[0, 0, 1, 5, 5], [8, 2, 2, 0, 3]])
    weight = torch.rand(5, dtype=torch.double) if weighted else torch.ones(5, dtype=torch.double)
    logits = F.normalize(anchor, dim=1) @ F.normalize(positive, dim=1).t() / 0.2
    expected = (weight * (logits.logsumexp(1)[edges[0]] - logits[edges[0], edges[1]])).sum() / weight.sum()
    loss = nt_xent((positive, anchor), edges.flip(0), 0.2, weight if weighted else None)
    compare(loss, expected, anchor, positive)
    with pytest.raises(ValueError, match="pass batch=None"):
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
@pytest.mark.parametrize("chunk", [None, 2])
def test_alignment_loss_is_the_formula(alpha, chunk):
    x, weight = features(9, 4, 2), torch.rand(7, dtype=torch.double)
    z = F.normalize(x, dim=1)
    distance = torch.stack([(z[i] - z[j]).norm() for i, j in EDGES.t().tolist()])
    compare(alignment_loss(x, EDGES, alpha, chunk=chunk), distance.pow(alpha).mean(), x)
    compare(alignment_loss(x, EDGES, alpha, weight, chunk), (weight * distance.pow(alpha)).sum() / weight.sum(), x)


def test_pairs_that_have_met_have_no_alignment_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    alignment_loss(x, torch.tensor([[0], [1]]), alpha=1).backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("t", [0.5, 2, 50])
@pytest.mark.parametrize("chunk", [None, 2])
def test_uniformity_loss_is_the_formula(t, chunk):
    x = features(9, 4, 3)
    z = F.normalize(x, dim=1)
    compare(uniformity_loss(x, t, chunk=chunk), torch.pdist(z).square().mul(-t).exp().mean().log(), x)
    inside = [(i, j) for i in range(9) for j in range(9) if i != j and BATCH[i] == BATCH[j]]
    near = torch.stack([(-t * (z[i] - z[j]).square().sum()).exp() for i, j in inside])
    compare(uniformity_loss(x, t, BATCH, chunk), near.mean().log(), x)
    mixed = torch.tensor([8, 2, 5, 0, 7, 1, 3, 6, 4])
    compare(uniformity_loss(x[mixed], t, BATCH[mixed], chunk), near.mean().log(), x)


@pytest.mark.parametrize("chunk", [None, 2])
def test_siblings_between_two_sets_are_their_formulas(chunk):
    u, v = features(6, 4, 0), features(9, 4, 1)
    edges, weight = torch.tensor([[0, 0, 1, 5, 5], [8, 2, 2, 0, 3]]), torch.rand(5, dtype=torch.double)
    a, b = F.normalize(u, dim=1), F.normalize(v, dim=1)
    apart = (a[edges[0]] - b[edges[1]]).norm(dim=1)
    compare(alignment_loss((u, v), edges, 3, weight, chunk), (weight * apart**3).sum() / weight.sum(), u, v)
    expected = torch.cdist(a, b).square().mul(-2).exp().mean().log()
    compare(uniformity_loss((u, v), 2, chunk=chunk), expected, u, v)
    near = (weight * (a[edges[0]] * b[edges[1]]).sum(1)).sum() / weight.sum()
    loss = spectral_contrastive_loss((a, b), edges, 1.0, weight)
    compare(loss, (a @ b.t()).square().mean() - 2 * near, u, v)
    for call in (uniformity_loss, lambda x, batch: spectral_contrastive_loss(x, edges, batch=batch)):
        with pytest.raises(ValueError, match="pass batch=None"):
            call((u, v), batch=BATCH)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_nt_xent_does_not_depend_on_the_chunk(chunk):
    x, other = features(9, 4, 0), features(5, 4, 1)
    edges = EDGES[:, BATCH[EDGES[0]] == BATCH[EDGES[1]]]
    compare(nt_xent(x, edges, 0.3, batch=BATCH, chunk=chunk), nt_xent(x, edges, 0.3, batch=BATCH), x)
    pairs = torch.tensor([[0, 3, 8], [4, 4, 0]])
    compare(nt_xent((x, other), pairs, 0.3, chunk=chunk), nt_xent((x, other), pairs, 0.3), x, other)


def test_far_apart_nodes_of_float32_do_not_vanish():
    """exp(-t |x - y|²) is zero in float32 for every pair here; its logarithm is not."""
    x = torch.eye(4)
    assert uniformity_loss(x, 200.0).item() == pytest.approx(-400.0)


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
        (lambda x, e: alignment_loss(x, e, alpha=0), "alpha as a positive number, got 0"),
        (lambda x, e: uniformity_loss(x, -1), "t as a positive number, got -1"),
        (lambda x, e: uniformity_loss(x[:1]), "two nodes or more"),
        (lambda x, e: nt_xent(x, e, chunk=0), "nt_xent expects chunk as a whole number >= 1, got 0"),
        (lambda x, e: uniformity_loss(x[0]), r"expects x as floating-point features of shape \(n, d\), got \(2,\)"),
        (lambda x, e: spectral_contrastive_loss(x, e, mu=0), "mu as a positive number, got 0"),
    ],
)
def test_errors_of_the_siblings_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(4, 2), torch.tensor([[0], [1]]))


def test_pairs_the_wrong_way_round_are_one_line():
    u, v = torch.randn(5, 3), torch.randn(4000, 3)
    edges = torch.tensor([[0, 1], [3999, 7]])
    assert nt_xent((u, v), edges).isfinite()
    for loss in (nt_xent, spectral_contrastive_loss):
        with pytest.raises(ValueError, match="nodes below 5, counted from 0, got 3999"):
            loss((u, v), edges.flip(0))


@pytest.mark.parametrize(
    "loss", [nt_xent, spectral_contrastive_loss, lambda x, edges, batch: uniformity_loss(x, batch=batch)]
)
def test_a_batch_of_another_length_is_one_line(loss):
    edges = torch.tensor([[0, 1], [1, 0]])
    for length in (1, 3, 7):
        with pytest.raises(ValueError, match=r"batch as integers of shape \(6,\), the graph of each node"):
            loss(torch.randn(6, 2), edges, batch=torch.zeros(length, dtype=torch.long))


def test_a_second_derivative_is_refused():
    """The message is handed over as a constant: differentiating it would be silently wrong."""
    x = torch.randn(6, 3, requires_grad=True)
    edges = augmentation_edges(3, 2, torch.device("cpu"))
    for value in (nt_xent(x, edges), alignment_loss(x, edges), uniformity_loss(x)):
        with pytest.raises(RuntimeError, match="without create_graph=True"):
            torch.autograd.grad(value, x, create_graph=True)


def test_a_temperature_to_be_trained_is_refused():
    with pytest.raises(ValueError, match="expects temperature as a constant"):
        nt_xent(torch.randn(4, 2), torch.tensor([[0], [1]]), torch.nn.Parameter(torch.tensor(0.5)))
