"""The law of every term: its message is minus the gradient of its value, in float64 to 1e-10."""

import math

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn import terms
from cl_as_gnn.nn.operators import Adjacency

SIZE, VIEWS, TAU = 6, 2, 0.3
N = SIZE * VIEWS


def rows(n, seed=0):
    return F.normalize(torch.randn(n, 5, dtype=torch.double, generator=torch.Generator().manual_seed(seed)), dim=1)


def off(x):
    return x - torch.diag(x.diagonal())


def logits_of(x, keep=None):
    keep = ~torch.eye(N, dtype=torch.bool) if keep is None else keep
    return (x @ x.t() / TAU).masked_fill(~keep, -math.inf)


EDGES = augmentation_edges(SIZE, VIEWS, torch.device("cpu"))
DIRECTED = torch.tensor([[0, 4, 2, 9], [3, 0, 3, 1]])
WEIGHT = torch.rand(N, dtype=torch.double, generator=torch.Generator().manual_seed(1))
GROUP = torch.arange(SIZE).repeat(VIEWS)
OTHER = GROUP[:, None] != GROUP
FIXED, KEY = rows(N, 5), rows(N, 6)
SCALE = torch.tensor(0.4, dtype=torch.double).requires_grad_()
BIAS = torch.tensor(-0.2, dtype=torch.double).requires_grad_()
CENTERS, TOKEN = rows(4, 7).requires_grad_(), torch.arange(N) % 3  # no node has the last token


def anchored(x):
    a, b, (y, z) = *x.chunk(2), FIXED.chunk(2)
    label = torch.arange(SIZE)
    return (F.cross_entropy(y @ b.t() / TAU, label) + F.cross_entropy(z @ a.t() / TAU, label)) / 2


def keyed(x):
    (a, b), (k, m), label = x.chunk(2), KEY.chunk(2), torch.arange(SIZE)
    return (F.cross_entropy(a @ m.t() / TAU, label) + F.cross_entropy(b @ k.t() / TAU, label)) / 2


def queued(x):
    return F.cross_entropy(torch.cat([(x * KEY).sum(1, keepdim=True), x @ FIXED.t()], 1) / TAU, torch.zeros(N).long())


def crossed(x):
    (a, b), label = x.chunk(2), torch.arange(SIZE)
    own = (a * b).sum() / TAU / SIZE
    return (F.cross_entropy(a @ b.t() / TAU, label) + F.cross_entropy(b @ a.t() / TAU, label)) / 2 + own


def barlow(x):
    c = x[:SIZE].t() @ x[SIZE:] / SIZE
    return (1 - c.diagonal()).square().sum() + 0.1 * off(c).square().sum()


def decorrelated(x):
    gram = [v.t() @ v / SIZE - torch.eye(5, dtype=torch.double) for v in x.chunk(2)]
    return (x[:SIZE] - x[SIZE:]).square().sum() / (2 * SIZE) + 0.1 * sum(g.square().sum() for g in gram)


def spread(x):
    out = 0
    for v in x.chunk(2):
        out = out + ((1 - (v.var(0) + 1e-4).sqrt()).relu().sum() + 2 * off(v.t().cov()).square().sum()) / 10
    return out


def hard(x):
    e, own = (x @ x.t() / TAU).exp(), (x * x.roll(SIZE, 0)).sum(1).div(TAU).exp()
    e = e * OTHER
    reweighted = (N - 2) * e.square().sum(1) / e.sum(1)
    negative = ((reweighted - 0.1 * (N - 2) * own) / 0.9).clamp(min=(N - 2) * math.exp(-1 / TAU))
    return -(own / (own + negative)).log().mean()


def apart(x):
    """Groups of four: every positive against the nodes of other groups."""
    s, same = x @ x.t() / TAU, TOKEN[:, None] == TOKEN
    pairs = [(i, j) for i in range(N) for j in range(N) if same[i, j] and i != j]
    return sum(torch.cat([s[i, j, None], s[i, ~same[i]]]).logsumexp(0) - s[i, j] for i, j in pairs) / len(pairs)


def logistic(x):
    logits = SCALE.exp() * x[:SIZE] @ x[SIZE:].t() + BIAS
    return -F.logsigmoid((2 * torch.eye(SIZE) - 1) * logits).sum() / SIZE


CASES = {
    terms.AnchorContrast: (terms.AnchorContrast(FIXED, TAU, VIEWS), anchored),
    terms.Attraction: (
        terms.Attraction(Adjacency(DIRECTED, WEIGHT[:4], N), TAU),
        lambda x: -(WEIGHT[:4] * (x[DIRECTED[0]] * x[DIRECTED[1]]).sum(1)).sum() / WEIGHT[:4].sum() / TAU,
    ),
    terms.BipartiteGaussian: (
        terms.BipartiteGaussian(5, 1.5),
        lambda x: torch.cdist(x[:5], x[5:]).square().mul(-1.5).exp().mean().log(),
    ),
    terms.BipartiteRepulsion: (
        terms.BipartiteRepulsion(5, TAU, WEIGHT[5:]),
        lambda x: (WEIGHT[5:] * (x[5:] @ x[:5].t() / TAU).logsumexp(1)).sum() / WEIGHT[5:].sum(),
    ),
    terms.ChannelCorrelation: (terms.ChannelCorrelation(0.1, VIEWS), barlow),
    terms.ChannelDecorrelation: (terms.ChannelDecorrelation(0.1, VIEWS), decorrelated),
    terms.ChannelSpread: (terms.ChannelSpread(1.0, 1.0, VIEWS), spread),
    terms.CrossViewRepulsion: (terms.CrossViewRepulsion(TAU, VIEWS), crossed),
    terms.EdgeContrast: (
        terms.EdgeContrast(DIRECTED, TAU, WEIGHT[:4]),
        lambda x: -(WEIGHT[:4] * logits_of(x).log_softmax(1)[DIRECTED[1], DIRECTED[0]]).sum() / WEIGHT[:4].sum(),
    ),
    terms.GaussianRepulsion: (
        terms.GaussianRepulsion(1.5),
        lambda x: torch.pdist(x).square().mul(-1.5).exp().mean().log(),
    ),
    terms.HardNegatives: (terms.HardNegatives(TAU, 1.0, 0.1, VIEWS), hard),
    terms.KeyContrast: (terms.KeyContrast(KEY, TAU, VIEWS, 0.6), lambda x: 0.6 * keyed(x)),
    terms.LinearRepulsion: (
        terms.LinearRepulsion(EDGES, VIEWS),
        lambda x: off(x[:SIZE] @ x[SIZE:].t()).square().sum() / (SIZE * (SIZE - 1)),
    ),
    terms.LogisticPairs: (terms.LogisticPairs(SCALE, BIAS, VIEWS), logistic),
    terms.MeanEntropy: (
        terms.MeanEntropy(CENTERS, TAU, 0.7),
        lambda x: 0.7 * (math.log(4) + torch.special.entr((x @ CENTERS.t() / TAU).softmax(1).mean(0)).sum().neg()),
    ),
    terms.MomentRepulsion: (
        terms.MomentRepulsion(FIXED.t() @ FIXED, 0.7),
        lambda x: 0.7 * (x @ FIXED.t()).square().sum() / N,
    ),
    terms.NegativeRepulsion: (terms.NegativeRepulsion(TAU, GROUP), lambda x: logits_of(x, OTHER).logsumexp(1).mean()),
    terms.PairContrast: (terms.PairContrast(TAU, TOKEN), apart),
    terms.PowerAlignment: (
        terms.PowerAlignment(DIRECTED, 3.0),
        lambda x: (x[DIRECTED[0]] - x[DIRECTED[1]]).norm(dim=1).pow(3).mean(),
    ),
    terms.QueueContrast: (terms.QueueContrast(KEY[None], FIXED, TAU), queued),
    terms.Regression: (terms.Regression(FIXED), lambda x: F.mse_loss(x, FIXED)),
    terms.SoftmaxRepulsion: (
        terms.SoftmaxRepulsion(TAU, WEIGHT),
        lambda x: (WEIGHT * logits_of(x).logsumexp(1)).sum() / WEIGHT.sum(),
    ),
    terms.SubsetRepulsion: (terms.SubsetRepulsion(TAU, GROUP), lambda x: logits_of(x).logsumexp(1).mean()),
    terms.TokenContrast: (
        terms.TokenContrast(TOKEN, CENTERS, TAU, WEIGHT, chunk=5),
        lambda x: (WEIGHT * F.cross_entropy(x @ CENTERS.t() / TAU, TOKEN, reduction="none")).sum() / WEIGHT.sum(),
    ),
}


def test_every_term_has_a_law():
    ours = {kind for kind in terms.term_types() if kind.__module__.startswith("cl_as_gnn.")}
    assert ours == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_the_message_is_minus_the_gradient(kind):
    term, reference = CASES[kind]
    x = rows(N).requires_grad_()
    value, *messages = term(x.detach())
    expected = reference(x)
    torch.testing.assert_close(value, expected.detach(), atol=1e-10, rtol=0)
    for message, grad in zip(messages, torch.autograd.grad(expected, [x, *term.learned]), strict=True):
        assert grad.abs().max() > 1e-4
        torch.testing.assert_close(message, -grad, atol=1e-10, rtol=0)


def test_token_contrast_is_cross_entropy_to_the_last_bits():
    x = rows(N).requires_grad_()
    loss = F.cross_entropy(x @ CENTERS.t(), TOKEN)
    ours = terms.objective(x, terms.TokenContrast(TOKEN, CENTERS))
    torch.testing.assert_close(ours, loss, atol=1e-14, rtol=0)
    for one, two in zip(*(torch.autograd.grad(value, [x, CENTERS]) for value in (ours, loss)), strict=True):
        torch.testing.assert_close(one, two, atol=1e-14, rtol=0)


class Naive(terms.Term):
    """−½‖XᵀX‖² by plain products, which autocast would round to bf16."""

    def __call__(self, x):
        moment = x.t() @ x
        return moment.square().sum() / 2, -2 * x @ moment


def test_a_naive_term_has_the_gradient_of_float32_under_autocast():
    x = rows(64).float().requires_grad_()
    (exact,) = torch.autograd.grad(terms.objective(x, Naive()), x)
    with torch.autocast("cpu", torch.bfloat16):
        (grad,) = torch.autograd.grad(terms.objective(x, Naive()), x)
        assert (Naive()(x.detach())[1] + exact).abs().max() > 1e-3, "without objective's care"
    assert torch.equal(grad, exact)
