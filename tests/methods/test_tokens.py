"""Methods that predict tokens: their loss is cross-entropy, tokens are fitted once and are part of a checkpoint."""

import pytest
import torch
import torch.nn.functional as F
from laws import SIZE, batch, make

from cl_as_gnn.encoders.vit import patches
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.schema import TOKEN_TARGET
from cl_as_gnn.methods import Preview


def preview(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randn(count, 1, 4, 4, generator=generator) + 3 * labels.view(-1, 1, 1, 1)
    return Preview(pixels, labels, ((0.0,), (1.0,)), seed)


def test_clustermim_is_the_cross_entropy_of_hidden_patches():
    method, views = make("clustermim", num_tokens=5, temperature=0.7), batch(make("clustermim"))
    method.prepare(preview)
    loss, data = method(views)
    x, token = data["patch"].x, data[TOKEN_TARGET].edge_index[0]
    expected = F.cross_entropy(x @ method.centers.t() / 0.7, token)
    torch.testing.assert_close(loss, expected)
    parameters = [*method.parameters()]
    ours, theirs = (torch.autograd.grad(value, parameters, retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)
    assert len(x) == SIZE * 3, "three of four patches are hidden"


def test_the_tokens_are_those_of_the_augmented_image_at_the_hidden_places():
    method, views = make("clustermim", num_tokens=5), batch(make("clustermim"))
    method.prepare(preview)
    data = method.graph(views)
    whole = torch.cdist(patches(views.inputs, 2), method.tokenizer.centers).argmin(2)
    for sample in range(SIZE):
        found = data[TOKEN_TARGET].edge_index[0][data["patch"].view == sample].tolist()
        rest = whole[sample].tolist()
        for token in found:
            rest.remove(token)
        assert len(rest) == 1


def test_what_is_hidden_is_not_seen():
    method, views = make("clustermim"), batch(make("clustermim"))
    torch.manual_seed(0)
    before = method.graph(views)
    torch.manual_seed(0)
    order = torch.rand(SIZE, 2, 4)[:, 0].argsort(1)
    grid = torch.zeros(SIZE, 4).scatter(1, order[:, 1:], 1.0)  # 1 where hidden
    moved = views.inputs + F.interpolate(grid.view(SIZE, 1, 2, 2), (4, 4))
    torch.manual_seed(0)
    after = method.graph(type(views)(moved, views.sample, views.progress, views.labels))
    torch.testing.assert_close(after["patch"].x, before["patch"].x)
    assert not torch.equal(after[TOKEN_TARGET].edge_index, before[TOKEN_TARGET].edge_index)


def test_mae_regresses_the_pixels_of_the_same_patches():
    method, views = make("clustermim", objective="mae"), batch(make("clustermim"))
    loss, data = method(views)
    torch.testing.assert_close(loss, F.mse_loss(data["patch"].x, data["patch"].target))
    assert method.prepare(preview) == []
    assert method.scores(preview) == {}


@pytest.mark.parametrize("kind", ["pixels", "class", "scrambled", "random"])
def test_tcas_is_told_before_training_and_kept_by_a_checkpoint(kind):
    method, copy = (make("clustermim", tokenizer=kind, num_tokens=3) for _ in range(2))
    (line,) = method.prepare(preview)
    scores = method.scores(preview)
    assert f"TCAS {scores['tcas']:.3f}" in line
    if kind == "class":
        assert scores == {"tcas": 0, "two_hop_purity": 1}
    copy.load_state_dict(method.state_dict())
    assert copy.scores(preview) == scores
    seen, draws = preview(), torch.rand(40, 4)
    token = method.tokenizer(seen.inputs, seen.labels, draws)
    assert torch.equal(copy.tokenizer(seen.inputs, seen.labels, draws), token)
    assert (token.min(), token.max()) == (0, 2)


def test_without_labels_there_is_no_tcas():
    method, seen = make("clustermim", num_tokens=3), preview()
    seen.labels.fill_(-1)
    assert method.prepare(lambda: seen) == ["tokens: pixels, K = 3; no labels, so no TCAS"]
    assert method.scores(preview) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_tokens": 500}, "500 tokens expect as many patches, and there are 160: lower"),
        ({"tokenizer": "class", "num_tokens": 2}, "set method.num_tokens=3"),
        ({"tokenizer": "features", "run": "nowhere"}, "method.run=nowhere has no encoder of images that can be read"),
        ({"tokenizer": "features"}, "method.run=None with method.tokenizer=features: name the folder"),
        ({"run": "nowhere"}, "method.run=nowhere with method.tokenizer=pixels: drop it"),
        ({"mask": 0.1}, "method.mask=0.1 hides none of 4 patches: raise it"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        make("clustermim", **settings).prepare(preview)
