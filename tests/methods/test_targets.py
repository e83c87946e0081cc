"""Methods with targets, queues and banks against literal transcriptions of the published losses: float64, to 1e-10."""

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, batch, check, make, nowhere, other_views, positives, rows, unit, with_targets
from torch import nn

from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, STAGE, TARGET_AUGMENTATION, TARGET_NEIGHBOR
from cl_as_gnn.methods import Batch
from cl_as_gnn.nn.terms import objective


@pytest.mark.parametrize("views", [2, 3])
def test_byol_aligns_to_each_of_the_other_targets(views):
    method = make("byol", num_views=views)
    x = unit(views)
    data = with_targets(x, views)
    target = data["target"].x
    loss = sum(2 - 2 * x[i] @ target[j] for i in range(len(x)) for j in other_views(i, views))
    check(method, x, data, 0.5 * loss / (len(x) * (views - 1)) - 1)


@pytest.mark.parametrize("views", [3, 4])
def test_fastsiam_aligns_to_the_direction_of_the_mean_of_the_other_projections(views):
    method, x, z = make("fastsiam", num_views=views), unit(views), 3 * rows(views * SIZE, seed=7).exp()
    data = with_targets(x, views)
    data["target"].x = z
    means = torch.stack([z[other_views(i, views)].mean(0) for i in range(len(x))])
    check(method, x, method.rewire(data, nowhere()), -(x * F.normalize(means, dim=1)).sum(1).mean())


def test_fastsiam_loss_through_the_network():
    method = make("fastsiam").double()
    views = batch(method)
    views.inputs = views.inputs.double()
    z = method.projector(method.encoder(views.inputs))
    p, targets = method.predictor(z).chunk(4), z.detach().view(4, SIZE, -1)
    expected = -sum(F.cosine_similarity(p[v], targets[torch.arange(4) != v].mean(0)).mean() for v in range(4)) / 4
    grads = torch.autograd.grad(expected, list(method.parameters()))
    loss, data = method(views)
    assert data["view"].x.dtype == torch.double  # methods keep the precision of float64 features
    torch.testing.assert_close(loss, expected, atol=1e-10, rtol=0)
    for grad, own in zip(grads, torch.autograd.grad(loss, list(method.parameters())), strict=True):
        torch.testing.assert_close(own, grad, atol=1e-10, rtol=1e-8)


def test_byol_target_follows_with_a_rising_momentum():
    method = make("byol", momentum=0.9)
    with torch.no_grad():
        method.encoder.linear.weight += 1
    old = method.target.module[0].linear.weight.clone()
    assert not any(name.startswith("target") for name, _ in method.named_parameters())
    assert "target.module.0.linear.weight" in method.state_dict()
    images = torch.randn(2 * SIZE, 1, 4, 4)
    method(Batch(images, torch.arange(SIZE), 0.0))[0].backward()
    torch.testing.assert_close(method.target.module[0].linear.weight, 0.9 * old + 0.1 * method.encoder.linear.weight)
    before = method.target.module[0].linear.weight.clone()
    method(Batch(images, torch.arange(SIZE), 1.0))
    assert torch.equal(method.target.module[0].linear.weight, before)
    assert method.momentum(0.5) == pytest.approx(0.95)
    method.eval()(Batch(images, torch.arange(SIZE), 0.0))
    assert torch.equal(method.target.module[0].linear.weight, before)


def test_a_momentum_copy_computes_what_its_source_does():
    source = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    copy, x = MomentumCopy(source), torch.randn(5, 1, 4, 4)
    assert torch.equal(copy(x), source(x).detach())
    assert not list(copy.parameters())
    assert not copy(x.requires_grad_()).requires_grad
    for p in source.parameters():
        p.data.normal_()
    copy.update(source, 0.0)
    torch.testing.assert_close(copy(x), source(x).detach())


@pytest.mark.parametrize("views", [2, 3])
def test_moco_is_cross_entropy_over_key_and_queue(views):
    method = make("moco", num_views=views, temperature=0.3)
    x = unit(views)
    data = method.rewire(with_targets(x, views), nowhere())
    queue = method.queue.features.double()
    assert len(queue) == 20
    expected = 0
    for i in range(len(x)):
        for j in other_views(i, views):
            logits = torch.cat([data["target"].x[j : j + 1], queue]) @ x[i] / 0.3
            expected = expected + F.cross_entropy(logits, torch.tensor(0))
    check(method, x, data, expected / (len(x) * (views - 1)))


def test_tico_keeps_a_decaying_moment_of_its_nodes():
    method, moment = make("tico", decay=0.7), torch.zeros(6, 6)
    for seed in (1, 2):
        x = method(batch(method, seed))[1]["view"].x.detach()
        moment = 0.7 * moment + 0.3 * x.t() @ x / len(x)
    torch.testing.assert_close(method.moment, moment)
    assert "moment" in method.state_dict()


@pytest.mark.parametrize(("views", "filled"), [(2, 0), (2, 20), (3, 20)])
def test_nnclr_is_the_published_loss(views, filled):
    method = make("nnclr", num_views=views, temperature=0.3)
    stored = rows(filled, seed=3).float()
    method.queue.push(stored, torch.arange(filled))
    p = unit(views)
    data = with_targets(p, views)
    z = data["target"].x.clone()
    support = method.queue.features.double()
    near = torch.stack([support[(support @ row).argmax()] for row in z]) if filled else z
    data = method.rewire(data, nowhere())
    expected = 0
    pairs = permutations(range(views), 2)
    for anchors, predictions in ((near.chunk(views)[a], p.chunk(views)[b]) for a, b in pairs):
        expected = expected + F.cross_entropy(anchors @ predictions.t() / 0.3, torch.arange(SIZE))
    check(method, p, data, expected / (views * (views - 1)))


def test_meanshift_aligns_to_the_neighbours_of_the_target():
    method = make("meanshift", k=3)
    stored = rows(20, seed=3).float()
    method.queue.push(stored, torch.arange(20))
    x = unit(2)
    data = with_targets(x, 2)
    target, bank = data["target"].x.clone(), method.queue.features.double()
    expected = 0
    for i in range(len(x)):
        u = target[(i + SIZE) % len(x)]
        group = torch.cat([u[None], bank[(bank @ u).topk(2).indices]])
        expected = expected - (group @ x[i]).mean() / len(x)
    check(method, x, method.rewire(data, nowhere()), expected)
    early = with_targets(x, 2)
    assert torch.equal(method.rewire(early, nowhere(progress=0.1))["target"].x, target)


@pytest.mark.parametrize("views", [2, 3])
def test_ressl_is_cross_entropy_between_rows(views):
    method = make("ressl", num_views=views, temperature=0.3, target_temperature=0.1)
    x = unit(views)
    data = method.rewire(with_targets(x, views), nowhere())
    queue, expected = method.queue.features.double(), 0
    for i in range(len(x)):
        for j in other_views(i, views):
            soft = (queue @ data["target"].x[j] / 0.1).softmax(0)
            expected = expected + F.cross_entropy((queue @ x[i] / 0.3)[None], soft[None])
    check(method, x, data, expected / (len(x) * (views - 1)))


@pytest.mark.parametrize("name", ["moco", "nnclr", "meanshift", "ressl"])
def test_banks_take_the_first_view_of_each_sample(name):
    method = make(name)
    sample = torch.tensor([3, 9, 1, 0, 12, 5, 19])
    _, data = method(Batch(torch.randn(2 * SIZE, 1, 4, 4), sample, 0.9))
    assert torch.equal(method.queue.sample[:SIZE], sample)
    source = data["target"].present if name == "meanshift" else data["target"].x
    torch.testing.assert_close(method.queue.features[:SIZE], source[:SIZE])


@pytest.mark.parametrize("filled", [0, 3, 20])
def test_gat_nn_positives_attends_over_the_neighbours_of_the_positive(filled):
    method = make("gat_nn_positives", k=4, weight=0.6, temperature=0.3, sharpness=2.0)
    method.queue.push(rows(filled, seed=3).float(), torch.arange(filled))
    x = unit(2)
    data = method.rewire(view_graph(x, 2), nowhere())
    bank, anchor, expected = method.queue.features.double(), x.detach(), 0
    for i in range(len(x)):
        j = (i + SIZE) % len(x)
        near = (bank @ anchor[j]).topk(4).indices
        near = near[method.queue.sample[near] >= 0]
        share = 0.6 if len(near) else 0.0
        pull = (1 - share) * x[i] @ x[j]
        if len(near):
            pull = pull + share * (2.0 * F.normalize(bank[near], dim=1) @ anchor[i]).softmax(0) @ bank[near] @ x[i]
        lse = torch.cat([x[:i], x[i + 1 :]]).matmul(x[i]).div(0.3).logsumexp(0)
        expected = expected - (pull / 0.3 - lse) / len(x)
    check(method, x, data, expected)


def test_jk_gcn_attracts_to_stages_of_diffused_neighbours():
    method = make("jk_gcn", k=2, num_hops=2, weight=0.6, stages=[0.5, 0.5], start=0.0, affinity_start=0.2)
    past = F.normalize(rows(SIZE, seed=5).float(), dim=1)
    method.bank.write(torch.arange(SIZE), past)
    x = unit(2)
    data = method.rewire(with_targets(x, 2), nowhere())
    mixed = 0.5 * unit(2, 7).detach() + 0.5 * past.double().repeat(2, 1)
    torch.testing.assert_close(data["target"].x, mixed.to(data["target"].x.dtype), atol=1e-6, rtol=0)
    mean = F.normalize(F.normalize(mixed, dim=1).view(2, SIZE, -1).mean(0), dim=1)
    cosine = (mean @ mean.t()).fill_diagonal_(-math.inf)
    near = cosine.topk(2).indices
    walk = torch.full_like(cosine, -math.inf).scatter_(1, near, cosine.gather(1, near) / 0.2).softmax(1)
    power = torch.linalg.matrix_power(walk, 2).fill_diagonal_(0)
    power = power / power.sum(1, keepdim=True)
    expected = 0
    for i in range(len(x)):
        pull = 0.4 * mixed[(i + SIZE) % len(x)] + 0.6 * power[i % SIZE] @ mixed.view(2, SIZE, -1).mean(0)
        expected = expected - x[i] @ pull / len(x)
    loss = objective(x, *method.terms(data, nowhere()))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)
    jk = make("jk", stages=[0.5, 0.5], start=0.0)
    jk.bank.load_state_dict(method.bank.state_dict())
    early = objective(x, *method.terms(method.rewire(with_targets(x, 2), nowhere(progress=0.1)), nowhere()))
    assert early.item() == objective(x, *jk.terms(jk.rewire(with_targets(x, 2), nowhere()), nowhere())).item()


@pytest.mark.parametrize("filled", [0, 3, 40])
def test_nn_positives_attracts_to_the_neighbours_of_the_positive(filled):
    method = make("nn_positives", k=2, weight=0.6, temperature=0.3)
    rows = F.normalize(torch.randn(filled, 6, generator=torch.Generator().manual_seed(5)), dim=1)
    method.queue.push(rows, torch.arange(filled))
    x = unit(2)
    data = method.rewire(view_graph(x, 2), nowhere())
    bank = method.queue.features.double()
    expected = 0.0
    lse = (x @ x.t() / 0.3).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf).logsumexp(1)
    for i in range(len(x)):
        j = (i + SIZE) % len(x)
        near = (bank.float() @ x[j].float()).topk(2).indices
        near = near[method.queue.sample[near] >= 0]
        share = 0.6 if len(near) else 0.0
        pull = (1 - share) * x[i] @ x[j]
        if len(near):
            pull = pull + share * (bank[near] @ x[i]).mean()
        expected = expected - (pull / 0.3 - lse[i]) / len(x)
    # The shares of the bank's edges are kept in float32.
    loss = objective(x, *method.terms(data, nowhere()))
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("views", [2, 3])
def test_simsiam_is_minus_cosine_to_stopped_targets(views):
    method = make("simsiam", num_views=views)
    p, z = unit(views), unit(views, seed=1).detach()
    data = view_graph(p, views)
    data["target"].x = z
    data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
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
    z = method.projector(method.encoder(views.inputs))
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
        z = F.normalize(method.projector(method.encoder(views.inputs)).detach(), dim=1)
        targets.append(F.normalize(F.normalize(z[:SIZE] + z[SIZE:], dim=1), dim=1))
        method(views)
    torch.testing.assert_close(method.bank.features[0, first.sample], targets[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(method.bank.features[1, first.sample], targets[0], atol=1e-5, rtol=1e-4)
    z = F.normalize(method.projector(method.encoder(third.inputs)).detach(), dim=1)
    mixed = 0.5 * z + (0.3 * targets[1] + 0.2 * targets[0]).repeat(2, 1)
    p = F.normalize(method.predictor(method.projector(method.encoder(third.inputs))), dim=1)
    loss, _ = method(third)
    torch.testing.assert_close(loss, -(p * mixed.roll(SIZE, 0)).sum(1).mean(), atol=1e-5, rtol=1e-4)


def test_jk_as_released_mixes_vectors_of_one_view_in_their_length():
    method = make("jk", stages=[0.5, 0.5], start=0.0, form="released")
    first, second = batch(method, seed=1), batch(method, seed=1)
    second.inputs = 2 * second.inputs
    method(first)
    with torch.no_grad():
        past = method.projector(method.encoder(first.inputs)).chunk(2)[1]
    torch.testing.assert_close(method.bank.features[0, first.sample], past)
    z = method.projector(method.encoder(second.inputs))
    p, (one, two) = method.predictor(z).chunk(2), (0.5 * z.detach() + 0.5 * past.repeat(2, 1)).chunk(2)
    expected = -(F.cosine_similarity(p[0], two) + F.cosine_similarity(p[1], one)).mean() / 2
    torch.testing.assert_close(method(second)[0], expected)


def test_the_graph_holds_every_node_that_shapes_a_target():
    """Neighbours, earlier epochs and queues: their edges mix the targets, and name their samples."""
    meanshift = make("meanshift", k=3)
    meanshift.queue.push(rows(20, seed=3).float(), torch.arange(20))
    data = meanshift.rewire(with_targets(unit(2), 2), nowhere())
    mixed = data["target"].present / 3
    (source, target), weight = data[TARGET_NEIGHBOR].edge_index, data[TARGET_NEIGHBOR].edge_weight
    mixed = mixed.index_add(0, target, weight.unsqueeze(1) * data["neighbour"].x[source].double())
    torch.testing.assert_close(data["target"].x, mixed)
    assert torch.equal(meanshift.queue.features[data["neighbour"].sample], data["neighbour"].x)

    jk = make("jk", stages=[0.5, 0.3, 0.2], start=0.0)
    for seed in (5, 6):
        jk.bank.write(torch.arange(SIZE), rows(SIZE, seed=seed).float())
    before = with_targets(unit(2), 2)
    present = before["target"].x
    data = jk.rewire(before, nowhere())
    (source, target), weight = data[STAGE].edge_index, data[STAGE].edge_weight
    assert torch.equal(data["past"].sample[source], data["view"].sample[target])
    mixed = (0.5 * present).index_add(0, target, (weight.unsqueeze(1) * data["past"].x[source]).double())
    torch.testing.assert_close(data["target"].x, mixed, atol=1e-6, rtol=0)

    nnclr = make("nnclr")
    data = nnclr.rewire(with_targets(unit(2), 2), nowhere())
    assert torch.equal(data["neighbour"].sample, data["view"].sample)  # each stands for itself until the queue fills
    nnclr.queue.push(rows(5, seed=3).float(), torch.arange(10, 15))
    data = nnclr.rewire(with_targets(unit(2), 2), nowhere())
    assert torch.equal(nnclr.queue.features[data["neighbour"].sample - 10].double(), data["neighbour"].x)
    assert make("moco").rewire(with_targets(unit(2), 2), nowhere())["queue"].x.shape == (20, 6)
