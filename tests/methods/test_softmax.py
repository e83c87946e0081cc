"""Methods with a softmax, and other pairwise repulsions against literal transcriptions, to 1e-10."""

import math
from itertools import combinations, permutations

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, check, cross_entropy, info_nce, make, nowhere, other_views, positives, rows, unit

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.knn import nearest_components
from cl_as_gnn.graph.schema import AUGMENTATION


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


def test_alignment_without_uniformity_costs_no_pairs():
    method = make("align_uniform", uniform_weight=0)
    x = unit(2)
    check(method, x, view_graph(x, 2), (x[:SIZE] - x[SIZE:]).square().sum(1).mean())
    assert len(method.terms(view_graph(x, 2), nowhere())) == 1


@pytest.mark.parametrize("views", [2, 3])
def test_simclr_is_nt_xent(views):
    method = make("simclr", num_views=views, temperature=0.3)
    x = unit(views)
    target = positives(views) / (views - 1)
    check(method, x, view_graph(x, views), cross_entropy(target, x, 0.3))


def test_gat_attends_over_the_positives_of_each_anchor():
    method = make("gat", num_views=4, sharpness=3.0)
    x = unit(4)
    data = method.rewire(view_graph(x, 4), nowhere())
    target = (3.0 * x.detach() @ x.detach().t()).masked_fill(positives(4) == 0, -math.inf).softmax(1)
    check(method, x, data, cross_entropy(target, x, 0.5))


def test_gat_with_two_views_is_the_released_weighting():
    """L = −Σ a_ij log p_ij / Σ a_ij over the n positive pairs, a = exp(1 + cos), detached."""
    method = make("gat", num_views=2, normalize="batch")
    x = unit(2)
    data = method.rewire(view_graph(x, 2), nowhere())
    weight = torch.exp(1 + x.detach() @ x.detach().t()) * positives(2)
    expected = cross_entropy(weight, x, 0.5) * len(x) / weight.sum()
    check(method, x, data, expected)
    with pytest.raises(ConfigError, match=r"num_views=2 leaves one positive"):
        make("gat", num_views=2)
