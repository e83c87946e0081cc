"""Methods on the graph of channels against literal transcriptions of the published losses: float64, to 1e-10."""

from itertools import combinations, permutations

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, check, make, nowhere, rows
from torch import nn

from cl_as_gnn.graph import view_graph
from cl_as_gnn.nn.terms import objective


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


def test_vicreg_refuses_a_sample_without_others():
    with pytest.raises(ValueError, match=r"VICReg.* expects two samples or more, got 1.*raise the batch size"):
        make("vicreg").terms(view_graph(rows(2), 2), nowhere())[1](rows(2))


def test_wmse_whitens_then_aligns():
    method = make("wmse", shrink=0.0, num_views=2)
    z = torch.randn(40, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whitened = []
    for part in z.chunk(2):
        centered = part - part.mean(0)
        inverse = torch.linalg.inv(torch.linalg.cholesky(centered.t() @ centered / 19))
        whitened.append(centered @ inverse.t())
        cov = whitened[-1].t() @ whitened[-1] / 19
        torch.testing.assert_close(cov, torch.eye(6, dtype=torch.double))
    expected = (2 - 2 * F.cosine_similarity(*whitened)).mean()
    x = method.normalize(z)
    loss = objective(x, *method.terms(view_graph(x, 2), nowhere()))
    torch.testing.assert_close(loss, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], torch.autograd.grad(expected, z)[0], atol=1e-10, rtol=0)


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
