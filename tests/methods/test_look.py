"""Tokens ahead and around: who predicts what, the loss, and the likelihood from left to right."""

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, batch, make
from test_tokens import preview

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.schema import TOKEN_TARGET

OBJECTIVES = [("ar", {}), ("ar_diverse", {"ahead": 3}), ("masked", {"mask": 0.5}), ("masked_varied", {})]


@pytest.fixture(params=OBJECTIVES, ids=lambda pair: pair[0])
def method(request):
    objective, settings = request.param
    method = make("look", objective=objective, **settings)
    method.prepare(preview)
    return method


def test_the_loss_is_the_cross_entropy_of_the_targets_of_each_context(method):
    views = batch(method)
    loss, data = method(views)
    x, token = data["patch"].x.view(SIZE, 4, -1), method.vit.token(views.inputs)
    if method.steps == (0,):
        hidden = data[TOKEN_TARGET].edge_weight.view(SIZE, 4) > 0
        count = hidden.sum(1)
        assert (count == 2).all() if method.config.objective == "masked" else count.unique().numel() > 1
        expected = F.cross_entropy(x[hidden] @ method.centers[0].t(), token[hidden])
    else:
        expected = sum(
            F.cross_entropy((x[:, :-s] @ method.centers[s - 1].t()).flatten(0, 1), token[:, s:].flatten())
            for s in method.steps
        )
    torch.testing.assert_close(loss, expected)
    parameters = [*method.parameters()]
    ours, theirs = (torch.autograd.grad(value, parameters, retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_a_context_does_not_see_its_targets(method):
    views = batch(method)
    torch.manual_seed(0)
    data = method.graph(views)
    weight = data[TOKEN_TARGET].edge_weight.view(len(method.steps), SIZE, 4)
    patch = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    for place in range(4):
        moved = torch.where(patch == place, 9 - views.inputs, views.inputs)
        torch.manual_seed(0)
        after = method.graph(type(views)(moved, views.sample, views.progress))
        same = (after["patch"].x - data["patch"].x).view(SIZE, 4, -1).abs().amax(2) < 1e-5
        for step, row in zip(method.steps, weight, strict=True):
            if step == 0:
                assert same[row[:, place] > 0].all(), "a hidden token, from any place"
            elif place >= step:
                assert same[:, place - step].all()


def test_the_likelihood_is_that_of_each_token_given_those_before_it(method):
    pixels, token = preview().inputs[:6], method.vit.token(preview().inputs[:6])
    total = 0
    for i in range(1, 4):
        if method.steps == (0,):
            hidden = (torch.arange(4) >= i).expand(6, -1)
            x = method.contexts(pixels, hidden)[:, i]
        else:  # the first i patches alone
            x = method.vit.mix(method.vit.embed(pixels)[:, :i])[:, -1]
        total = total + F.cross_entropy(x @ method.centers[0].t(), token[:, i])
    assert method.scores(preview)["token_nll"] == pytest.approx(
        float(method.next_token_loss(preview().inputs)), abs=1e-5
    )
    torch.testing.assert_close(method.next_token_loss(pixels), total / 3)


def test_more_targets_connect_more_contexts_and_a_checkpoint_keeps_what_was_measured():
    found = {}
    for objective, settings in OBJECTIVES:
        method, copy = (make("look", objective=objective, **settings) for _ in range(2))
        (line,) = method.prepare(preview)
        found[objective] = method.scores(preview)
        assert f"{found[objective]['connected']:.3f} of the pairs of a class" in line
        copy.load_state_dict(method.state_dict())
        assert copy.scores(preview) == found[objective]
        assert torch.equal(copy.vit.codebook, method.vit.codebook)
    assert found["ar"]["connected"] < found["ar_diverse"]["connected"]
    assert found["ar"]["sigma_2"] == pytest.approx(1), "the places are components of their own"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "ar_diverse", "ahead": 4}, "method.ahead=4 with 4 tokens of an image: use less than 4"),
        ({"objective": "masked", "mask": 0.05}, "method.mask=0.05 hides 0 of 4 tokens"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        make("look", **settings)


def test_the_encoder_must_read_tokens_and_look_the_same_way(clgnn):
    words = ("train", "method.name=look")
    for more, message in (
        (("encoder.tokens=0",), "set encoder.tokens=32"),
        (("encoder.causal=false",), "method.objective=ar expects encoder.causal=true"),
        (("encoder.name=small",), "has no patches for method.name=look to hide: use encoder.name=vit"),
    ):
        code, _, err = clgnn(*words, *more)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
