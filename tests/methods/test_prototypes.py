"""Methods with prototypes against literal transcriptions of the published losses: float64, to 1e-10."""

import math

import pytest
import torch
import torch.nn.functional as F
from laws import HEADS, batch, check, make, nowhere, other_views, unit, with_targets

from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.methods import METHODS, Batch, build_method


def others_mean(shares, views):
    return torch.stack([shares[other_views(i, views)].mean(0) for i in range(len(shares))])


@pytest.mark.parametrize("views", [2, 3])
def test_swav_predicts_the_transport_of_the_other_views(views):
    method = make("swav", num_views=views, num_prototypes=5, temperature=0.3, epsilon=0.2).double()
    x = unit(views)
    data = method.rewire(with_targets(x, views), nowhere())
    centers = F.normalize(method.prototypes, dim=1)
    plan = torch.cat([(part @ centers.t() / 0.2).exp() for part in data["target"].x.chunk(views)]).detach()
    for part in plan.chunk(views):  # the published order: prototypes first, then samples
        for _ in range(3):
            part /= part.sum(0, keepdim=True) * 5
            part /= part.sum(1, keepdim=True)
    loss = -(others_mean(plan, views) * (x @ centers.t() / 0.3).log_softmax(1)).sum() / len(x)
    check(method, x, data, loss, method.prototypes)


@pytest.mark.parametrize("views", [2, 3])
def test_dino_predicts_the_centered_softmax_of_the_other_targets(views):
    method = make("dino", num_views=views, num_prototypes=5, temperature=0.3, target_temperature=0.1).double()
    method.center.copy_(torch.linspace(-0.5, 0.5, 5))
    method.target_prototypes.mul_(2).add_(0.1)
    x = unit(views)
    data = method.rewire(with_targets(x, views), nowhere())
    scores = data["target"].x @ F.normalize(method.target_prototypes, dim=1).t()
    shares = ((scores - method.center) / 0.1).softmax(1)
    logits = x @ F.normalize(method.prototypes, dim=1).t() / 0.3
    check(method, x, data, -(others_mean(shares, views) * logits.log_softmax(1)).sum() / len(x), method.prototypes)


def test_dino_keeps_a_center_and_a_copy_of_its_prototypes():
    method = make("dino", num_prototypes=5, momentum=0.9, center_momentum=0.7)
    old = method.target_prototypes.clone()
    with torch.no_grad():
        method.prototypes += 1
    data = method(batch(method, progress=0.0))[1]
    torch.testing.assert_close(method.target_prototypes, 0.9 * old + 0.1 * method.prototypes)
    scores = data["target"].x @ F.normalize(method.target_prototypes, dim=1).t()
    torch.testing.assert_close(method.center, 0.3 * scores.mean(0))
    assert {"center", "target_prototypes", "prototypes"} <= set(method.state_dict())


@pytest.mark.parametrize(("views", "sinkhorn"), [(2, 0), (3, 0), (2, 2)])
def test_msn_predicts_the_sharpened_softmax_and_uses_all_prototypes(views, sinkhorn):
    settings = {"num_prototypes": 5, "temperature": 0.3, "sharpening": 0.5, "entropy_weight": 0.7}
    method = make("msn", num_views=views, sinkhorn=sinkhorn, **settings).double()
    x = unit(views)
    data = method.rewire(with_targets(x, views), nowhere())
    centers = F.normalize(method.prototypes, dim=1)
    shares = (data["target"].x @ centers.t() / 0.3).softmax(1).detach().square()  # ½: squares, normalized
    shares /= shares.sum(1, keepdim=True)
    for part in shares.chunk(views):
        for _ in range(sinkhorn):
            part /= part.sum(0, keepdim=True)
            part /= part.sum(1, keepdim=True)
    log = (x @ centers.t() / 0.3).log_softmax(1)
    entropy = torch.special.entr(log.exp().mean(0)).sum()
    loss = -(others_mean(shares, views) * log).sum() / len(x) + 0.7 * (math.log(5) - entropy)
    check(method, x, data, loss, method.prototypes)


def test_msn_hides_patches_of_the_views_and_none_of_the_targets():
    encoder = build_encoder(ENCODERS["vit"].Config(width=8), Inputs(1, 16))
    method = build_method(METHODS["msn"].Config(mask=0.75), encoder, HEADS, 20)
    seen = []
    encoder.blocks[0].register_forward_pre_hook(lambda block, x: seen.append(x[0].size(1)))
    method.target.module[0].blocks[0].register_forward_pre_hook(lambda block, x: seen.append(x[0].size(1)))
    views = Batch(torch.randn(6, 1, 16, 16), torch.arange(3), 0.5)
    first, second = (method(views)[0] for _ in range(2))
    assert first != second, "another draw"
    assert seen == [16, 64] * 2
    method.eval()(views)
    assert seen[4:] == [64, 64]


def test_a_mask_without_patches_is_one_line():
    with pytest.raises(ConfigError, match=r"method\.mask=0.5 expects an encoder with patches: set encoder.name=vit"):
        make("msn", mask=0.5)
