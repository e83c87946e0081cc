"""Each method against a literal transcription of its loss: value and message, in float64 to 1e-10."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cl_as_gnn.config import EncoderConfig, build_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.methods import METHODS, Batch, build_method
from cl_as_gnn.nn.terms import objective

IMAGES = sorted(name for name, method in METHODS.items() if "images" in method.reads)
HEADS = EncoderConfig(projector_hidden=16, projector_dim=6, predictor_hidden=8)
SIZE = 7


class Flatten(nn.Module):
    """The smallest encoder there is."""

    out_dim = 16

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x):
        return self.linear(x.flatten(1))


def make(name, **settings):
    config = build_config({"method": {"name": name, **settings}}).method
    torch.manual_seed(0)
    return build_method(config, Flatten(), HEADS, num_samples=20)


def batch(method, seed=0, progress=0.9):
    generator = torch.Generator().manual_seed(seed)
    views = method.config.num_views
    sample = torch.randperm(20, generator=generator)[:SIZE]
    return Batch(torch.randn(views * SIZE, 1, 4, 4, generator=generator), sample, progress, sample % 3)


def unit(views, seed=0):
    x = torch.randn(views * SIZE, 6, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    return F.normalize(x, dim=1).requires_grad_()


def log_softmax(x, temperature):
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)
    return logits.log_softmax(1)


def positives(views):
    n = views * SIZE
    node = torch.arange(n)
    same = (node[:, None] - node[None]) % SIZE == 0
    return (same & (node[:, None] != node[None])).double()


def cross_entropy(target, x, temperature):
    """−mean over anchors of the expected log-softmax under the rows of a target distribution."""
    return -(target * log_softmax(x, temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), 0)).sum() / len(x)


def check(method, x, data, expected):
    views = Batch(torch.empty(0), data["view"].sample[:SIZE], 0.9)
    loss = objective(x, *method.terms(data, views))
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    (message,) = torch.autograd.grad(loss, x)
    (grad,) = torch.autograd.grad(expected, x)
    torch.testing.assert_close(message, grad, atol=1e-10, rtol=0)
    assert message.abs().max() > 1e-4


@pytest.mark.parametrize("views", [2, 3])
def test_simclr_is_nt_xent(views):
    method = make("simclr", num_views=views, temperature=0.3)
    x = unit(views)
    target = positives(views) / (views - 1)
    check(method, x, view_graph(x, views), cross_entropy(target, x, 0.3))


@pytest.mark.parametrize("views", [2, 3])
def test_gcn_is_cross_entropy_to_diffused_targets(views):
    method = make(
        "gcn",
        num_views=views,
        temperature=0.3,
        k=2,
        num_hops=3,
        weight=0.7,
        affinity_temperature=0.2,
        gate=0,
    )
    x = unit(views)
    data = method.rewire(view_graph(x, views), Batch(torch.empty(0), torch.arange(SIZE), 0.9))
    prototypes = F.normalize(x.detach().view(views, SIZE, -1).mean(0), dim=1)
    cosine = (prototypes @ prototypes.t()).fill_diagonal_(-math.inf)
    kept = cosine.topk(2).indices
    walk = torch.full_like(cosine, -math.inf).scatter_(1, kept, cosine.gather(1, kept) / 0.2).softmax(1)
    power = torch.linalg.matrix_power(walk, 3).fill_diagonal_(0)
    power /= power.sum(1, keepdim=True)
    diffused = torch.kron(torch.full((views, views), 1 / views, dtype=torch.double), power)
    target = 0.3 * positives(views) / (views - 1) + 0.7 * diffused
    expected = cross_entropy(target, x, 0.3)
    views_ = Batch(torch.empty(0), torch.arange(SIZE), 0.9)
    loss = objective(x, *method.terms(data, views_))
    # The affinity weights are kept in float32.
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-6, rtol=0)
    (message,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(message, torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)


def test_gcn_opens_its_gate_by_the_agreement_of_the_views_neighbourhoods():
    """Views with neighbours of their own: SimCLR. The same neighbours: λ in full. Between: in proportion."""
    settings = {"k": 2}
    open_, gated, simclr = (
        make(n, **s) for n, s in (("gcn", settings | {"gate": 0}), ("gcn", settings), ("simclr", {}))
    )
    views = Batch(torch.empty(0), torch.arange(SIZE), 0.9)

    def loss(method, x):
        return objective(x, *method.terms(method.rewire(view_graph(x, 2), views), views)).item()

    first = unit(2)[:SIZE]
    apart = torch.cat([first, unit(2, seed=5)[:SIZE]])
    assert loss(gated, apart) == pytest.approx(loss(simclr, apart))
    same = torch.cat([first, first])
    assert loss(gated, same) == pytest.approx(loss(open_, same))
    data = gated.rewire(view_graph(same, 2), views)
    data["sample", "affinity", "sample"].agreement = torch.tensor(0.35)  # gate 0.3, in full at 0.4
    half = objective(same, *gated.terms(data, views)).item()
    assert half == pytest.approx((loss(open_, same) + loss(simclr, same)) / 2)


def test_gcn_is_simclr_before_its_start():
    gcn, simclr = make("gcn", start=0.5, gate=0), make("simclr")
    simclr.load_state_dict(gcn.state_dict())
    early, late = batch(gcn, progress=0.4), batch(gcn, progress=0.6)
    assert gcn(early)[0].item() == simclr(early)[0].item()
    assert gcn(late)[0].item() != simclr(late)[0].item()


def test_gat_attends_over_the_positives_of_each_anchor():
    method = make("gat", num_views=4, sharpness=3.0)
    x = unit(4)
    data = method.rewire(view_graph(x, 4), Batch(torch.empty(0), torch.arange(SIZE), 0.9))
    target = (3.0 * x.detach() @ x.detach().t()).masked_fill(positives(4) == 0, -math.inf).softmax(1)
    check(method, x, data, cross_entropy(target, x, 0.5))


def test_gat_with_two_views_is_the_released_weighting():
    """L = −Σ a_ij log p_ij / Σ a_ij over the n positive pairs, a = exp(1 + cos), detached."""
    method = make("gat", num_views=2, normalize="batch")
    x = unit(2)
    data = method.rewire(view_graph(x, 2), Batch(torch.empty(0), torch.arange(SIZE), 0.9))
    weight = torch.exp(1 + x.detach() @ x.detach().t()) * positives(2)
    expected = cross_entropy(weight, x, 0.5) * len(x) / weight.sum()
    check(method, x, data, expected)
    with pytest.raises(ConfigError, match=r"num_views=2 leaves one positive"):
        make("gat", num_views=2)


@pytest.mark.parametrize("filled", [0, 3, 40])
def test_rewire_attracts_to_the_neighbours_of_the_positive(filled):
    method = make("nn_positives", k=2, weight=0.6, temperature=0.3)
    rows = F.normalize(torch.randn(filled, 6, generator=torch.Generator().manual_seed(5)), dim=1)
    method.bank.push(rows, torch.arange(filled))
    x = unit(2)
    data = method.rewire(view_graph(x, 2), Batch(torch.empty(0), torch.arange(SIZE), 0.9))
    bank = method.bank.features.double()
    expected = 0.0
    lse = (x @ x.t() / 0.3).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf).logsumexp(1)
    for i in range(len(x)):
        j = (i + SIZE) % len(x)
        near = (bank.float() @ x[j].float()).topk(2).indices
        near = near[method.bank.sample[near] >= 0]
        share = 0.6 if len(near) else 0.0
        pull = (1 - share) * x[i] @ x[j]
        if len(near):
            pull = pull + share * (bank[near] @ x[i]).mean()
        expected = expected - (pull / 0.3 - lse[i]) / len(x)
    # The shares of the bank's edges are kept in float32.
    loss = objective(x, *method.terms(data, Batch(torch.empty(0), torch.arange(SIZE), 0.9)))
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("views", [2, 3])
def test_simsiam_is_minus_cosine_to_stopped_targets(views):
    method = make("simsiam", num_views=views)
    p, z = unit(views), unit(views, seed=1).detach()
    data = view_graph(p, views)
    data["target"].x = z
    data["target", "augmentation", "view"].edge_index = data["view", "augmentation", "view"].edge_index
    expected = -((p @ z.t()) * positives(views)).sum() / positives(views).sum()
    check(method, p, data, expected)


def test_simsiam_loss_through_the_network():
    """½ D(p1, sg z2) + ½ D(p2, sg z1), D = −cos, with every gradient of the parameters."""
    method, views = make("simsiam"), None
    views = batch(method)
    loss, _ = method(views)
    loss.backward()
    grads = [p.grad.clone() for p in method.parameters()]
    method.zero_grad()
    z = method.projector(method.encoder(views.images))
    (p1, p2), (z1, z2) = method.predictor(z).chunk(2), z.detach().chunk(2)
    expected = -0.5 * (F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for grad, parameter in zip(grads, method.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, atol=1e-5, rtol=1e-4)


def test_jk_aligns_to_a_mixture_of_epochs_and_remembers_both_views():
    method = make("jk", stages=[0.5, 0.3, 0.2], start=0.0)
    first, second, third = (batch(method, seed=s) for s in (1, 1, 1))
    second = Batch(2 * second.inputs, first.sample, 0.9)
    targets = []
    for views in (first, second):
        z = F.normalize(method.projector(method.encoder(views.images)).detach(), dim=1)
        targets.append(F.normalize(F.normalize(z[:SIZE] + z[SIZE:], dim=1), dim=1))
        method(views)
    torch.testing.assert_close(method.bank.features[0, first.sample], targets[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(method.bank.features[1, first.sample], targets[0], atol=1e-5, rtol=1e-4)
    z = F.normalize(method.projector(method.encoder(third.images)).detach(), dim=1)
    mixed = 0.5 * z + (0.3 * targets[1] + 0.2 * targets[0]).repeat(2, 1)
    p = F.normalize(method.predictor(method.projector(method.encoder(third.images))), dim=1)
    loss, _ = method(third)
    torch.testing.assert_close(loss, -(p * mixed.roll(SIZE, 0)).sum(1).mean(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", IMAGES)
def test_every_method_trains_and_keeps_its_state(name):
    """The gradient reaches every parameter, a step lowers the loss, and a reloaded copy goes on alike."""
    method, copy = make(name), make(name)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05)
    for step in range(3):
        optimizer.zero_grad()
        loss, _ = method(batch(method, seed=step))
        loss.backward()
        assert loss.isfinite()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert sum(float(p.grad.abs().sum()) for p in method.parameters()) > 0
    copy.load_state_dict(method.state_dict())
    again = batch(method, seed=9)
    losses = []
    for one in (method, copy):
        torch.manual_seed(0)
        losses.append(one(again)[0].item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", IMAGES)
def test_sample_order_does_not_matter(name):
    method = make(name).eval()
    views = batch(method)
    order = torch.randperm(SIZE)
    shape = (method.config.num_views, SIZE, 1, 4, 4)
    moved = Batch(views.images.view(shape)[:, order].flatten(0, 1), views.sample[order], 0.9, views.labels[order])
    state = {k: v.clone() for k, v in method.state_dict().items()}
    loss, _ = method(views)
    method.load_state_dict(state)
    torch.testing.assert_close(method(moved)[0], loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_how_it_reads_as_a_graph(name):
    method = METHODS[name]
    assert method.Config.model_fields["name"].default == name
    for text in (method.attracts, method.repels, method.source, method.__doc__):
        assert text
        assert text.strip()


def test_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match=r"method.name=simcrl.*did you mean 'simclr'"):
        make("simcrl")
