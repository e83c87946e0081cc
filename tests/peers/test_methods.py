"""Methods against the losses of other packages (extra ``peers``), and against formulas retyped from papers.

Each row computes the loss of two views of the same samples from network outputs of any length: value and gradient agree
in float64. ``tests/methods`` holds the terms to 1e-10 without the steps between outputs and nodes.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from agree import assert_equal
from laws import make

from cl_as_gnn import nn
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods import Batch
from cl_as_gnn.nn.terms import objective

B, D, LABELS = 16, 6, torch.arange(16) % 3
TARGETS, QUEUE = (torch.randn(n, D, generator=torch.Generator().manual_seed(n)).double() for n in (2 * B, 20))


def method(name, labels=None, **settings):
    """The loss of a method as a function of the outputs for two views; targets and queue are fixed."""
    built = make(name, **settings).double().train()
    if hasattr(built, "queue"):
        built.queue.push(QUEUE, torch.arange(20))
    batch = Batch(torch.empty(0), torch.arange(B), 0.9, labels)

    def loss(a, b):
        data = view_graph(built.normalize(torch.cat([a, b])), 2)
        data["target"].x = F.normalize(TARGETS, dim=1)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
        data = built.rewire(data, batch)
        return objective(data["view"].x, *built.terms(data, batch))

    return loss


def lightly(name, **settings):
    return getattr(pytest.importorskip("lightly.loss"), name)(**settings)


def metric(name, **settings):
    return getattr(pytest.importorskip("pytorch_metric_learning.losses"), name)(**settings)


def both(loss):
    """A loss that is not symmetric, on the views and on the views the other way round: the mean."""
    return lambda a, b: (loss(a, b) + loss(b, a)) / 2


def labeled(loss):
    return lambda a, b: loss(torch.cat([a, b]), LABELS.repeat(2))


def cosine_to(loss):
    """SimSiam's loss to the fixed targets of the other view."""
    first, second = TARGETS.chunk(2)
    return lambda a, b: (loss(a, second) + loss(b, first)) / 2


def tico_of_a_moment():
    built = make("tico").double()
    built.moment.copy_(QUEUE.t() @ QUEUE)

    def loss(a, b):
        x = F.normalize(torch.cat([a, b]), dim=1)
        data = view_graph(x, 2)
        data["target"].x = F.normalize(TARGETS, dim=1)
        data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
        return 1 + objective(x, *built.terms(data, Batch(torch.empty(0), torch.arange(B), 0.9)))

    return loss


def tico_twice(a, b):
    """Both views in one batch, whose targets are those of the other view."""
    theirs = lightly("TiCoLoss")
    theirs.C = QUEUE.t() @ QUEUE
    return theirs(torch.cat([a, b]), torch.cat(TARGETS.chunk(2)[::-1]))


INSTALLED = {
    "simclr, lightly": (lambda: method("simclr", temperature=0.2), lambda: lightly("NTXentLoss", temperature=0.2)),
    "barlow, lightly": (
        lambda: method("barlow", off_diagonal=0.01),
        lambda: lightly("BarlowTwinsLoss", lambda_param=0.01),
    ),
    "vicreg, lightly": (lambda: method("vicreg"), lambda: lightly("VICRegLoss")),
    "vicreg, pytorch-metric-learning": (
        lambda: lambda a, b: nn.VICRegLoss()(a, b),
        lambda: lambda a, b: metric("VICRegLoss")(a, ref_emb=b),
    ),
    "dcl, lightly": (lambda: method("dcl", temperature=0.2), lambda: lightly("DCLLoss", temperature=0.2)),
    "dclw, lightly": (
        lambda: method("dcl", temperature=0.2, sigma=0.5),
        lambda: lightly("DCLWLoss", temperature=0.2, sigma=0.5),
    ),
    "wmse, lightly": (
        lambda: lambda a, b: method("wmse", shrink=0.0)(a, b),
        lambda: lambda a, b: lightly("WMSELoss", embedding_dim=D, w_size=B)(torch.cat([a, b])),
    ),
    "simsiam, lightly": (lambda: method("simsiam"), lambda: cosine_to(lightly("NegativeCosineSimilarity"))),
    "byol, lightly": (lambda: method("byol"), lambda: cosine_to(lightly("NegativeCosineSimilarity"))),
    "supcon, pytorch-metric-learning": (
        lambda: method("supcon", labels=LABELS, temperature=0.2),
        lambda: labeled(metric("SupConLoss", temperature=0.2)),
    ),
    "tico, lightly": (tico_of_a_moment, lambda: tico_twice),
    "BarlowTwinsLoss": (lambda: nn.BarlowTwinsLoss(), lambda: lightly("BarlowTwinsLoss")),
    "VICRegLoss": (lambda: nn.VICRegLoss(), lambda: lightly("VICRegLoss")),
    "DCLLoss": (lambda: nn.DCLLoss(0.2), lambda: lightly("DCLLoss", temperature=0.2)),
    "DCLLoss, weighted": (lambda: nn.DCLLoss(0.2, 0.5), lambda: lightly("DCLWLoss", temperature=0.2)),
    "SimSiamLoss": (lambda: cosine_to(nn.SimSiamLoss()), lambda: cosine_to(lightly("NegativeCosineSimilarity"))),
    "PairNTXentLoss": (lambda: labeled(nn.PairNTXentLoss(0.2)), lambda: labeled(metric("NTXentLoss", temperature=0.2))),
}


def unit(*views):
    return [F.normalize(z, dim=1) for z in views]


def moco(a, b):
    total = 0
    for query, key in zip(unit(a, b), unit(*TARGETS.chunk(2)[::-1]), strict=True):
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ F.normalize(QUEUE, dim=1).t()], 1)
        total = total + F.cross_entropy(logits / 0.3, torch.zeros(B).long()) / 2
    return total


def ressl(a, b):
    queue, total = F.normalize(QUEUE, dim=1), 0
    for student, teacher in zip(unit(a, b), unit(*TARGETS.chunk(2)[::-1]), strict=True):
        soft = (teacher @ queue.t() / 0.04).softmax(1)
        total = total - (soft * (student @ queue.t() / 0.1).log_softmax(1)).sum(1).mean() / 2
    return total


def nearest(z, k):
    queue = F.normalize(QUEUE, dim=1)
    return queue[(z @ queue.t()).topk(k, dim=1).indices]


def nnclr(a, b):
    (za, zb), (pa, pb), own = unit(*TARGETS.chunk(2)), unit(a, b), torch.arange(B)
    pairs = ((nearest(za, 1)[:, 0], pb), (nearest(zb, 1)[:, 0], pa))
    return sum(F.cross_entropy(near @ p.t() / 0.3, own) for near, p in pairs) / 2


def meanshift(a, b):
    total = 0
    for query, target in zip(unit(a, b), unit(*TARGETS.chunk(2)[::-1]), strict=True):
        found = torch.cat([target.unsqueeze(1), nearest(target, 2)], 1)
        total = total + (2 - 2 * (query.unsqueeze(1) * found).sum(2)).mean() / 2
    return total


def siglip(a, b):
    a, b = unit(a, b)
    logits = 3.0 * a @ b.t() - 2.0
    return -F.logsigmoid((2 * torch.eye(B) - 1) * logits).sum() / B


def hard_negatives(a, b):
    """The debiased estimator with importance weights, over both views."""
    a, b = unit(a, b)
    out, count = torch.cat([a, b]), 2 * B - 2
    others = ~torch.eye(B, dtype=torch.bool).repeat(2, 2)
    neg = (out @ out.t() / 0.5).exp()[others].view(2 * B, -1)
    pos = ((a * b).sum(1) / 0.5).exp().repeat(2)
    importance = neg.log().exp()
    weighted = (importance * neg).sum(1) / importance.mean(1)
    debiased = ((weighted - 0.1 * count * pos) / 0.9).clamp(min=count * math.exp(-1 / 0.5))
    return -(pos / (pos + debiased)).log().mean()


def align_uniform(a, b):
    a, b = unit(a, b)
    spread = [torch.pdist(z).square().mul(-2).exp().mean().log() for z in (a, b)]
    return (a - b).norm(dim=1).square().mean() + (spread[0] + spread[1]) / 2


def spectral(a, b):
    def inside(z):
        length = z.norm(dim=1, keepdim=True)
        return torch.where(length < 1, z, z / length)

    a, b = inside(a), inside(b)
    square = (a @ b.t()).square()
    return -2 * (a * b).sum(1).mean() + (square.sum() - square.diagonal().sum()) / (B * (B - 1))


def cca_ssg(a, b):
    a, b = ((z - z.mean(0)) / z.std(0, correction=0) for z in (a, b))
    gram = [z.t() @ z / B - torch.eye(D) for z in (a, b)]
    return D - (a * b).sum() / B + 1e-3 * sum(g.square().sum() for g in gram)


def grace(a, b):
    """Each node against both views of all others, the positive in the other view; the mean of both directions."""
    a, b = unit(a, b)

    def one(a, b):
        within, between = (a @ a.t() / 0.2).exp(), (a @ b.t() / 0.2).exp()
        return -(between.diagonal() / (within.sum(1) + between.sum(1) - within.diagonal())).log().mean()

    return (one(a, b) + one(b, a)) / 2


def simclr_attn(a, b):
    """One positive each, weighted by exp(1 + cos) over the batch, the weight without gradient."""
    z = F.normalize(torch.cat([a, b]), dim=1)
    log_share = (z @ z.t() / 0.5).fill_diagonal_(-math.inf).log_softmax(1)
    own = torch.arange(2 * B).roll(B)
    weight = (1 + (z * z[own]).sum(1)).exp().detach()
    return -(weight * log_share[torch.arange(2 * B), own]).sum() / weight.sum()


def wmse(a, b):
    def whiten(z):
        z = z - z.mean(0)
        return torch.linalg.solve_triangular(torch.linalg.cholesky(z.t() @ z / (B - 1)), z.t(), upper=False).t()

    return (2 - 2 * F.cosine_similarity(whiten(a), whiten(b))).mean()


def plus(constant, loss, factor=1.0):
    """Papers differ by constants that no gradient sees."""
    return lambda a, b: factor * loss(a, b) + constant


def dclw(a, b):
    """Both views, each against the other samples in both; von Mises-Fisher weights on the positive."""
    a, b = unit(a, b)
    weight = (2 - B * ((a * b).sum(1) / 0.5).softmax(0)).detach()
    apart = ~torch.eye(B, dtype=torch.bool).repeat(1, 2)

    def one(a, b):
        others = (a @ torch.cat([a, b]).t() / 0.2).masked_fill(~apart, -math.inf).logsumexp(1)
        return (others - weight * (a * b).sum(1) / 0.2).mean()

    return (one(a, b) + one(b, a)) / 2


def mocov3(a, b):
    (za, zb), (pa, pb), own = unit(*TARGETS.chunk(2)), unit(a, b), torch.arange(B)
    return 0.3 * (F.cross_entropy(pa @ zb.t() / 0.3, own) + F.cross_entropy(pb @ za.t() / 0.3, own))


def tico(a, b):
    """The first batch of a run: no moment of earlier ones."""
    x, targets = F.normalize(torch.cat([a, b]), dim=1), F.normalize(torch.cat(TARGETS.chunk(2)[::-1]), dim=1)
    moment = 0.1 * (x.t() @ x).detach() / (2 * B)
    return 1 - (x * targets).sum(1).mean() + 8 * (x @ moment * x).sum(1).mean()


PAPERS = {
    "mocov3": (method("mocov3", temperature=0.3), mocov3),
    "tico": (plus(1.0, method("tico")), tico),
    "dclw": (method("dcl", temperature=0.2, sigma=0.5), dclw),
    "moco": (method("moco", temperature=0.3), moco),
    "ressl": (method("ressl"), ressl),
    "nnclr": (method("nnclr", temperature=0.3), nnclr),
    "meanshift": (plus(2.0, method("meanshift", k=3), 2.0), meanshift),
    "siglip": (method("siglip", scale=3.0, bias=-2.0), siglip),
    "hardneg": (method("hardneg", temperature=0.5, beta=1.0, tau_plus=0.1), hard_negatives),
    "align_uniform": (method("align_uniform"), align_uniform),
    "spectral": (method("spectral"), spectral),
    "cca_ssg": (method("cca_ssg"), cca_ssg),
    "grace": (method("simclr", temperature=0.2), grace),
    "simclr_attn": (method("gat", num_views=2, normalize="batch"), simclr_attn),
    "wmse": (method("wmse", shrink=0.0), wmse),
}


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(B, D, generator=generator, dtype=torch.double)
    return [first, first + 0.5 * torch.randn(B, D, generator=generator, dtype=torch.double)]


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_an_installed_package(name, outputs):
    ours, theirs = INSTALLED[name]
    theirs = theirs()
    assert_equal(ours(), theirs, *outputs)


@pytest.mark.parametrize("name", PAPERS)
def test_the_loss_of_a_paper(name, outputs):
    assert_equal(*PAPERS[name], *outputs)


def test_contra_norm_is_the_released_layer(outputs):
    x, weight = torch.cat(outputs), torch.randn(2 * B, D, dtype=torch.double)
    layer = nn.ContraNorm(D, scale=0.5, temperature=0.8, layer_norm=False).double()

    def released(x):
        unit = F.normalize(x, dim=1)
        return 1.5 * x - 0.5 * (unit @ unit.t() / 0.8).softmax(1) @ x

    assert_equal(lambda x: (weight * layer(x)).sum(), lambda x: (weight * released(x)).sum(), x)


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (420,), generator=generator)
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(9))[labels] + torch.randn(420, 8, generator=generator)
    return F.normalize(x.double(), dim=1), labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.1), (50, 0.5)])
def test_knn_predicts_what_lightly_and_scikit_learn_do(k, temperature):
    from sklearn.neighbors import KNeighborsClassifier

    from cl_as_gnn.evaluation import knn_predict

    x, labels = draw(0)
    bank, query, y = x[:180], x[180:], labels[:180]
    ours = knn_predict(bank, y, query, k, temperature, top=5)

    def weights(distance):
        return ((1 - torch.from_numpy(distance)) / temperature).exp().numpy()

    votes = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(bank.numpy(), y.numpy())
    assert (ours[:, 0].numpy() == votes.predict(query.numpy())).all()
    assert 50 < (ours[:, 0] == labels[180:]).double().mean() * 100 < 100
    theirs = pytest.importorskip("lightly.utils.benchmarking.knn").knn_predict(query, bank.t(), y, 5, k, temperature)
    assert torch.equal(ours[:, 0], theirs[:, 0])
    if k == 50:  # with fewer neighbors some classes have no vote, and no order
        assert (ours == theirs).double().mean() > 0.95
