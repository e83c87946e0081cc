"""Methods with prototypes against literal transcriptions of the published losses: float64, to 1e-10."""

import pytest
import torch
import torch.nn.functional as F
from laws import batch, check, make, nowhere, other_views, unit, with_targets


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
