"""The rest of the method table against literal, slow transcriptions of the published losses: float64, to 1e-10."""

import math
from itertools import combinations, permutations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data

from cl_as_gnn.config import EncoderConfig, build_config
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.components import nearest_components
from cl_as_gnn.graph.schema import AUGMENTATION
from cl_as_gnn.methods import Batch, build_method
from cl_as_gnn.nn.streaming import tiles
from cl_as_gnn.nn.terms import objective

HEADS = EncoderConfig(projector_hidden=16, projector_dim=6, predictor_hidden=8)
SIZE = 7


class Flatten(nn.Module):
    out_dim = 16

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x):
        return self.linear(x.flatten(1))


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch):
    """Strips of three rows, so that every test crosses their borders."""
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 2 * 3 * 2 * SIZE)


def make(name, **settings):
    config = build_config({"method": {"name": name, **settings}}).method
    torch.manual_seed(0)
    return build_method(config, Flatten(), HEADS, num_samples=20)


def rows(count, seed=0, scale=1.0):
    return scale * torch.randn(count, 6, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def unit(views, seed=0):
    return F.normalize(rows(views * SIZE, seed), dim=1).requires_grad_()


def nowhere(labels=None, progress=0.9):
    return Batch(torch.empty(0), torch.arange(SIZE), progress, labels)


def check(method, x, data, expected, *parameters, views=None):
    loss = objective(x, *method.terms(data, views or nowhere()))
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    messages = torch.autograd.grad(loss, [x, *parameters])
    for message, grad in zip(messages, torch.autograd.grad(expected, [x, *parameters], retain_graph=True), strict=True):
        torch.testing.assert_close(message, grad, atol=1e-10 if grad.dtype == torch.double else 1e-6, rtol=0)
    assert messages[0].abs().max() > 1e-4


def info_nce(x, positives, temperature):
    """Mean over anchors with a positive, of the mean over their positives, of −log softmax over all others."""
    terms = []
    for i, own in enumerate(positives):
        logits = x @ x[i] / temperature
        others = torch.cat([logits[:i], logits[i + 1 :]]).logsumexp(0)
        if own:
            terms.append(sum(others - logits[j] for j in own) / len(own))
    return sum(terms) / len(terms)


def other_views(i, views):
    return [j for j in range(views * SIZE) if j % SIZE == i % SIZE and j != i]


def test_dropedge_keeps_some_edges_and_the_rows_add_up():
    method = make("dropedge", num_views=3, temperature=0.3, drop=0.5)
    x = unit(3)
    torch.manual_seed(3)
    data = method.rewire(view_graph(x, 3), nowhere())
    edges = data[AUGMENTATION]
    source, target = edges.edge_index[:, edges.edge_weight > 0].tolist()
    positives = [[j for j, i in zip(source, target, strict=True) if i == anchor] for anchor in range(len(x))]
    assert 0 < sum(map(len, positives)) < 3 * SIZE * 2
    assert any(not own for own in positives)
    assert all(set(own) <= set(other_views(i, 3)) for i, own in enumerate(positives))
    check(method, x, data, info_nce(x, positives, 0.3))
    whole = make("dropedge", drop=0.5).eval()
    assert whole.rewire(view_graph(unit(4), 4), nowhere())[AUGMENTATION].edge_weight.tolist() == [1 / 3] * (
        4 * 3 * SIZE
    )


@pytest.mark.parametrize("aggregate", ["hardest", "mean"])
def test_arcl_takes_the_worst_view(aggregate):
    method = make("arcl", num_views=4, temperature=0.3, aggregate=aggregate)
    x = unit(4)
    positives = [other_views(i, 4) for i in range(len(x))]
    if aggregate == "hardest":
        cosine = (x @ x.t()).tolist()
        positives = [[min(own, key=cosine[i].__getitem__)] for i, own in enumerate(positives)]
    check(method, x, method.rewire(view_graph(x, 4), nowhere()), info_nce(x, positives, 0.3))


@pytest.mark.parametrize("views", [2, 3])
def test_supcon_is_the_out_form(views):
    method = make("supcon", num_views=views, temperature=0.3)
    x, labels = unit(views), torch.tensor([4, 1, 4, 4, 1, 0, -1])
    y = labels.clone()
    y[6] = 99
    y = y.repeat(views).tolist()
    positives = [[j for j in range(len(x)) if y[j] == y[i] and j != i] for i in range(len(x))]
    check(method, x, view_graph(x, views), info_nce(x, positives, 0.3), views=nowhere(labels))
    with pytest.raises(ConfigError, match="expects labels"):
        method.terms(view_graph(x, views), nowhere())


@pytest.mark.parametrize("views", [2, 3])
def test_ncl_attracts_neighbours_in_the_graph(views):
    method = make("ncl", num_views=views, temperature=0.3, weight=0.4)
    x, links = unit(views), torch.tensor([[1, 2, 0, 5, 3], [0, 0, 2, 3, 5]])  # nodes 1, 4 and 6 have no neighbour
    batch = Batch(Data(links=links), torch.arange(SIZE), 0.0)
    parts = []
    for i in range(len(x)):
        sources = [j for j, target in links.t().tolist() if target == i % SIZE]
        near = [v * SIZE + j for j in sources for v in range(views)]
        share = [1.0, 0.0] if not near else [0.6, 0.4]
        others = torch.cat([x[:i], x[i + 1 :]])
        denominator = torch.logsumexp(x[i] @ others.t() / 0.3, 0)
        for part, own in zip(share, (other_views(i, views), near), strict=True):
            parts += [part / len(own) * (denominator - x[i] @ x[j] / 0.3) for j in own]
    check(method, x, method.rewire(view_graph(x, views), batch), sum(parts) / len(x), views=batch)
    with pytest.raises(ConfigError, match="edges of a graph of nodes"):
        method.rewire(view_graph(x, views), nowhere())


def test_wcl_is_supcon_over_components():
    method = make("wcl", temperature=0.3, weight=0.5)
    x = unit(2)
    data = method.rewire(view_graph(x, 2), nowhere())
    mean = F.normalize((x[:SIZE] + x[SIZE:]).detach(), dim=1)
    nearest = (mean @ mean.t()).fill_diagonal_(-2).argmax(1).tolist()
    group = list(range(SIZE))
    for _ in range(SIZE):
        for i, j in enumerate(nearest):
            group[i] = group[j] = min(group[i], group[j])
    assert 1 < len(set(group)) < SIZE
    label = group * 2
    positives = [[j for j in range(len(x)) if label[j] == label[i] and j != i] for i in range(len(x))]
    own = info_nce(x, [other_views(i, 2) for i in range(len(x))], 0.3)
    check(method, x, data, 0.5 * own + 0.5 * info_nce(x, positives, 0.3))
    early = method.rewire(view_graph(x, 2), nowhere(progress=0.1))
    check(method, x, early, own)


def test_components_join_what_a_walk_joins():
    generator = torch.Generator().manual_seed(0)
    for n in (1, 2, 3, 50):
        x = torch.randn(n, 3, generator=generator)
        label = nearest_components(x)
        group = list(range(n))
        if n > 1:
            z = F.normalize(x, dim=1)
            nearest = (z @ z.t()).fill_diagonal_(-2).argmax(1).tolist()
            for _ in range(n):
                for i, j in enumerate(nearest):
                    group[i] = group[j] = min(group[i], group[j])
        same = torch.tensor(group)
        assert torch.equal(label[:, None] == label, same[:, None] == same)


@pytest.mark.parametrize("views", [2, 3])
def test_dcl_leaves_the_positive_out_of_the_denominator(views):
    method = make("dcl", num_views=views, temperature=0.3)
    x = unit(views)
    expected = 0
    for i in range(len(x)):
        negatives = [k for k in range(len(x)) if k % SIZE != i % SIZE]
        own = other_views(i, views)
        expected = expected - sum(x[i] @ x[j] for j in own) / (len(own) * 0.3)
        expected = expected + (x[negatives] @ x[i] / 0.3).logsumexp(0)
    check(method, x, view_graph(x, views), expected / len(x))


@pytest.mark.parametrize(
    ("name", "beta", "tau_plus", "views", "temperature"),
    [
        ("hardneg", 1.0, 0.1, 2, 0.5),
        ("hardneg", 0.5, 0.3, 3, 0.2),
        ("debiased", 0.0, 0.1, 2, 0.5),
        ("debiased", 0.0, 0.6, 3, 0.5),
    ],
)
def test_hard_negatives_are_the_released_code(name, beta, tau_plus, views, temperature):
    """The `hard` estimator of the authors' criterion, anchor by anchor; β = 0 is the debiased loss."""
    method = make(name, num_views=views, temperature=temperature, beta=beta, tau_plus=tau_plus)
    x = unit(views)
    count, expected, clamped = len(x) - views, 0, 0
    for i in range(len(x)):
        neg = torch.exp(x[[k for k in range(len(x)) if k % SIZE != i % SIZE]] @ x[i] / temperature)
        imp = (beta * neg.log()).exp()
        reweight = (imp * neg).sum() / imp.mean()
        for j in other_views(i, views):
            pos = torch.exp(x[i] @ x[j] / temperature)
            ng = (-tau_plus * count * pos + reweight) / (1 - tau_plus)
            floor = count * math.exp(-1 / temperature)
            clamped += bool(ng < floor)
            expected = expected - torch.log(pos / (pos + ng.clamp(min=floor)))
    if tau_plus == 0.6:
        assert 0 < clamped < len(x) * (views - 1)
    check(method, x, view_graph(x, views), expected / (len(x) * (views - 1)))
    if name == "debiased":
        assert make(name).config.beta == 0


@pytest.mark.parametrize(("views", "power"), [(2, 2.0), (2, 1.0), (3, 3.0)])
def test_align_uniform_is_two_lines_of_torch(views, power):
    method = make("align_uniform", num_views=views, power=power, t=3.0, align_weight=0.7, uniform_weight=0.4)
    x = unit(views)
    parts = x.chunk(views)
    align = sum((a - b).norm(dim=1).pow(power).mean() for a, b in combinations(parts, 2))
    uniform = sum(torch.pdist(part).pow(2).mul(-3.0).exp().mean().log() for part in parts)
    expected = 0.7 * align / math.comb(views, 2) + 0.4 * uniform / views
    check(method, x, view_graph(x, views), expected)


@pytest.mark.parametrize("views", [2, 3])
def test_spectral_is_the_released_loss(views):
    method = make("spectral", num_views=views, mu=2.0)
    z = rows(views * SIZE, scale=0.6).requires_grad_()
    x = method.normalize(z)
    clipped = torch.stack([row if row.norm() < 2**0.5 else 2**0.5 * row / row.norm() for row in z])
    torch.testing.assert_close(x, clipped)
    assert 0 < (z.norm(dim=1) > 2**0.5).sum() < len(z)
    x = x.detach().requires_grad_()
    expected = 0
    for a, b in combinations(x.chunk(views), 2):
        square = (a @ b.t()).square()
        off = (square.sum() - square.diagonal().sum()) / (SIZE * (SIZE - 1))
        expected = expected + (-2 * (a * b).sum(1).mean() + off) / 2.0
    check(method, x, view_graph(x, views), expected / math.comb(views, 2))


@pytest.mark.parametrize("views", [2, 3])
def test_siglip_sends_messages_to_its_scale_and_bias_too(views):
    method = make("siglip", num_views=views, scale=3.0, bias=-1.0).double()
    x = unit(views)
    expected = 0
    sign = 2 * torch.eye(SIZE, dtype=torch.double) - 1
    for a, b in permutations(x.chunk(views), 2):
        logits = method.log_scale.exp() * a @ b.t() + method.bias
        expected = expected - F.logsigmoid(sign * logits).sum() / SIZE
    expected = expected / (views * (views - 1))
    check(method, x, view_graph(x, views), expected, method.log_scale, method.bias)


def test_barlow_is_the_released_loss():
    method = make("barlow", off_diagonal=0.02)
    z = rows(2 * SIZE).requires_grad_()
    bn = nn.BatchNorm1d(6, affine=False).double()
    x = method.normalize(z)
    torch.testing.assert_close(x, torch.cat([bn(z[:SIZE]), bn(z[SIZE:])]))
    x = x.detach().requires_grad_()
    c = x[:SIZE].t() @ x[SIZE:] / SIZE
    on = c.diagonal().add(-1).pow(2).sum()
    off = c.pow(2).sum() - c.diagonal().pow(2).sum()
    check(method, x, view_graph(x, 2), on + 0.02 * off)


def test_barlow_of_three_views_is_the_mean_over_pairs():
    three, two = make("barlow", num_views=3), make("barlow")
    x = rows(3 * SIZE).requires_grad_()
    parts = x.chunk(3)
    pairs = [
        objective(torch.cat([a, b]), *two.terms(view_graph(torch.cat([a, b]), 2), nowhere()))
        for a, b in combinations(parts, 2)
    ]
    check(three, x, view_graph(x, 3), sum(pairs) / 3)


def test_vicreg_is_the_released_loss():
    method = make("vicreg", invariance=20.0, variance=15.0, covariance=2.0)
    scale = torch.tensor([0.3, 0.5, 0.9, 1.1, 2.0, 3.0], dtype=torch.double)
    x = (rows(2 * SIZE) * scale).requires_grad_()
    a, b = x.chunk(2)
    expected = 20 * F.mse_loss(a, b)
    spread = [torch.sqrt(part.var(0) + 0.0001) for part in (a, b)]
    assert 0 < (spread[0] < 1).sum() < 6
    expected = expected + 15 * sum(torch.relu(1 - s).mean() / 2 for s in spread)
    for part in (a - a.mean(0), b - b.mean(0)):
        cov = part.t() @ part / (SIZE - 1)
        expected = expected + 2 * (cov.pow(2).sum() - cov.diagonal().pow(2).sum()) / 6
    check(method, x, view_graph(x, 2), expected)


def test_wmse_whitens_then_aligns():
    method = make("wmse", shrink=0.0, num_views=2)
    z = torch.randn(40, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whitened = []
    for part in z.chunk(2):
        centred = part - part.mean(0)
        inverse = torch.linalg.inv(torch.linalg.cholesky(centred.t() @ centred / 19))
        whitened.append(centred @ inverse.t())
        cov = whitened[-1].t() @ whitened[-1] / 19
        torch.testing.assert_close(cov, torch.eye(6, dtype=torch.double))
    expected = (2 - 2 * F.cosine_similarity(*whitened)).mean()
    x = method.normalize(z)
    loss = objective(x, *method.terms(view_graph(x, 2), nowhere()))
    torch.testing.assert_close(loss, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], torch.autograd.grad(expected, z)[0], atol=1e-10, rtol=0)


def with_targets(x, views, seed=7):
    data = view_graph(x, views)
    data["target"].x = unit(views, seed).detach()
    data["target", "augmentation", "view"].edge_index = data[AUGMENTATION].edge_index
    return data


@pytest.mark.parametrize(("name", "views"), [("byol", 2), ("byol", 3), ("fastsiam", 4)])
def test_byol_and_fastsiam_align_to_the_mean_of_the_other_targets(name, views):
    method = make(name, num_views=views)
    x = unit(views)
    data = with_targets(x, views)
    target = data["target"].x
    loss = sum(2 - 2 * x[i] @ target[j] for i in range(len(x)) for j in other_views(i, views))
    check(method, x, data, 0.5 * loss / (len(x) * (views - 1)) - 1)


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
    data = with_targets(x, views)
    queue = method.queue.features.double()
    assert len(queue) == 20
    expected = 0
    for i in range(len(x)):
        for j in other_views(i, views):
            logits = torch.cat([data["target"].x[j : j + 1], queue]) @ x[i] / 0.3
            expected = expected + F.cross_entropy(logits, torch.tensor(0))
    check(method, x, data, expected / (len(x) * (views - 1)))


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
    method.bank.push(stored, torch.arange(20))
    x = unit(2)
    data = with_targets(x, 2)
    target, bank = data["target"].x.clone(), method.bank.features.double()
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
    data = with_targets(x, views)
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
    bank = method.bank if name == "meanshift" else method.queue
    assert torch.equal(bank.sample[:SIZE], sample)
    source = data["present"].x if name == "meanshift" else data["target"].x
    torch.testing.assert_close(bank.features[:SIZE], source[:SIZE])


@pytest.mark.parametrize("filled", [0, 3, 20])
def test_gat_rewire_attends_over_the_neighbours_of_the_positive(filled):
    method = make("gat_nn_positives", k=4, weight=0.6, temperature=0.3, sharpness=2.0)
    method.bank.push(rows(filled, seed=3).float(), torch.arange(filled))
    x = unit(2)
    data = method.rewire(view_graph(x, 2), nowhere())
    bank, anchor, expected = method.bank.features.double(), x.detach(), 0
    for i in range(len(x)):
        j = (i + SIZE) % len(x)
        near = (bank @ anchor[j]).topk(4).indices
        near = near[method.bank.sample[near] >= 0]
        share = 0.6 if len(near) else 0.0
        pull = (1 - share) * x[i] @ x[j]
        if len(near):
            pull = pull + share * (2.0 * F.normalize(bank[near], dim=1) @ anchor[i]).softmax(0) @ bank[near] @ x[i]
        lse = torch.cat([x[:i], x[i + 1 :]]).matmul(x[i]).div(0.3).logsumexp(0)
        expected = expected - (pull / 0.3 - lse) / len(x)
    check(method, x, data, expected)


@pytest.mark.parametrize("repel", ["complete", "nearest", "random", "farther"])
def test_affinity_repulsion_is_a_softmax_over_part_of_the_nodes(repel, monkeypatch):
    draws = torch.rand(3 * SIZE, 3 * SIZE, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    drawn = iter(draws.split(2))  # strips of two rows of 21
    monkeypatch.setattr(torch, "rand_like", lambda _: next(drawn))
    method = make("affinity_repulsion", num_views=3, temperature=0.3, repel=repel, repel_k=5)
    x, expected = unit(3), 0
    for i in range(len(x)):
        rest = [k for k in range(len(x)) if k % SIZE != i % SIZE]
        nearest = sorted(rest, key=lambda k: -(x[i] @ x[k]).item())
        rest = {
            "complete": rest,
            "nearest": nearest[:5],
            "farther": nearest[5:],
            "random": sorted(rest, key=lambda k: -float(draws[i, k]))[:5],
        }[repel]
        own = other_views(i, 3)
        expected = expected + (x[own + rest] @ x[i] / 0.3).logsumexp(0) - (x[own] @ x[i]).mean() / 0.3
    check(method, x, view_graph(x, 3), expected / len(x))


@pytest.mark.parametrize(("hops", "seen"), [(1, 20), (2, 20), (3, 15), (4, 20)])
def test_gcn_bank_is_cross_entropy_to_walks_over_the_whole_set(hops, seen):
    settings = {"num_hops": hops, "weight": 0.7, "affinity_temperature": 0.2, "gate": 0, "temperature": 0.3}
    method = make("gcn_bank", k=3, **settings)
    stored = F.normalize(rows(seen, seed=3).float(), dim=1)
    method.bank.write(torch.arange(seen), stored)
    x, views = unit(2), Batch(torch.empty(0), torch.tensor([3, 14, 1, 0, 12, 5, 9]), 0.9)
    method.begin_epoch(0.1)
    assert "sample" not in method.rewire(view_graph(x, 2, views.sample), views).node_types
    method.begin_epoch(0.9)
    data = method.rewire(view_graph(x, 2, views.sample), views)
    walk = torch.zeros(20, 20, dtype=torch.double)
    for i in range(seen):
        near = sorted((j for j in range(seen) if j != i), key=lambda j: -float(stored[i] @ stored[j]))[:3]
        walk[i, near] = (stored[near].double() @ stored[i].double() / 0.2).softmax(0)
    power = torch.linalg.matrix_power(walk, hops)[views.sample][:, views.sample].fill_diagonal_(0)
    total = power.sum(1, keepdim=True)
    assert (total > 0).any()
    diffused = torch.where(total > 0, power / total, 0).repeat(2, 2) / 2
    share = 0.7 * (total > 0).double().repeat(2, 1)
    target = 0.7 * diffused
    expected = -sum(
        (1 - share[i]) * (x[i] @ x[(i + SIZE) % len(x)]) / 0.3
        + target[i] @ (x @ x[i]) / 0.3
        - torch.cat([x[:i], x[i + 1 :]]).matmul(x[i]).div(0.3).logsumexp(0)
        for i in range(len(x))
    ) / len(x)
    loss = objective(x, *method.terms(data, views))
    # The affinity weights are kept in float32.
    torch.testing.assert_close(loss.detach(), expected.squeeze().detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-6, rtol=0)
    method.update_memory(data)
    mean = F.normalize(x[:SIZE] + x[SIZE:], dim=1).float()
    torch.testing.assert_close(method.bank.features[0, views.sample], mean.detach())


def test_oracle_diffuses_along_edges_of_known_purity():
    method = make("oracle", k=2, num_hops=1, weight=0.7, purity=0.5, temperature=0.3)
    x, labels = unit(2), torch.tensor([0, 1, 0, 1, 0, 1, -1])
    views = nowhere(labels)
    data = method.rewire(view_graph(x, 2), views)
    edges = data["sample", "affinity", "sample"]
    source, target = edges.edge_index[:, edges.edge_weight > 0].tolist()
    for i in range(6):
        found = [labels[j].item() == labels[i].item() for j, t in zip(source, target, strict=True) if t == i]
        assert sorted(found) == [False, True]
    assert 6 not in source + target
    own = info_nce(x, [other_views(i, 2) for i in range(len(x))], 0.3)
    positives = [
        [j + v * SIZE for j, t in zip(source, target, strict=True) if t == i % SIZE for v in (0, 1)] for i in range(14)
    ]
    alone = [[] if own else other_views(i, 2) for i, own in enumerate(positives)]
    expected = (
        12 * (0.3 * info_nce(x, [other_views(i, 2) * bool(positives[i]) for i in range(14)], 0.3))
        + (12 * 0.7 * info_nce(x, positives, 0.3) + 2 * info_nce(x, alone, 0.3))
    ) / 14
    assert own.item() != pytest.approx(expected.item())
    loss = objective(x, *method.terms(data, views))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match="expects labels"):
        method.rewire(view_graph(x, 2), nowhere())


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


@pytest.mark.parametrize("views", [2, 3])
def test_cca_ssg_is_invariance_and_decorrelation(views):
    method = make("cca_ssg", num_views=views, decorrelation=0.3)
    x = F.batch_norm(rows(SIZE, scale=2.0).repeat(views, 1), None, None, training=True).requires_grad_()
    x = (x + 0.2 * rows(views * SIZE, seed=3)).detach().requires_grad_()
    parts = x.chunk(views)
    eye = torch.eye(6, dtype=torch.double)
    pairs = list(permutations(range(views), 2))
    # The released code: −tr C₁₂ + λ Σ ‖C_v − I‖², less the lengths of standardized features, which are constant.
    invariance = sum((parts[a] - parts[b]).square().sum() for a, b in pairs) / (2 * SIZE * len(pairs))
    decorrelation = sum((p.t() @ p / SIZE - eye).square().sum() for p in parts) * 2 / views
    check(method, x, view_graph(x, views), invariance + 0.3 * decorrelation)


def test_cca_ssg_for_two_views_is_the_released_code_up_to_its_constant():
    method = make("cca_ssg")
    z = [F.batch_norm(rows(SIZE, seed), None, None, training=True, eps=1e-12) for seed in (1, 2)]
    c, c1, c2 = z[0].t() @ z[1] / SIZE, z[0].t() @ z[0] / SIZE, z[1].t() @ z[1] / SIZE
    eye = torch.eye(6, dtype=torch.double)
    released = -c.diagonal().sum() + 1e-3 * ((eye - c1).square().sum() + (eye - c2).square().sum())
    x = torch.cat(z)
    torch.testing.assert_close(objective(x, *method.terms(view_graph(x, 2), nowhere())), 6 + released)


def test_cca_ssg_does_not_see_the_scale_of_features():
    method, z = make("cca_ssg"), rows(2 * SIZE)
    torch.testing.assert_close(method.normalize(1e-4 * z), method.normalize(z), atol=1e-3, rtol=0)


def test_alignment_without_uniformity_costs_no_pairs():
    method = make("align_uniform", uniform_weight=0)
    x = unit(2)
    check(method, x, view_graph(x, 2), (x[:SIZE] - x[SIZE:]).square().sum(1).mean())
    assert len(method.terms(view_graph(x, 2), nowhere())) == 1
