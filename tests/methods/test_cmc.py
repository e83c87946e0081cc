"""Contrastive multiview coding: InfoNCE between two groups of channels."""

import pytest
import torch
import torch.nn.functional as F
from laws import HEADS, SIZE, Flatten, batch, check, make, unit

from cl_as_gnn.config import build_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph import view_graph
from cl_as_gnn.methods import Batch, Preview, build_method


def test_the_message_is_minus_the_gradient_of_info_nce_across_groups():
    method, x = make("cmc", temperature=0.3), unit(2)
    (a, b), label = x.chunk(2), torch.arange(SIZE)
    logits = a @ b.t() / 0.3
    check(method, x, view_graph(x, 2), (F.cross_entropy(logits, label) + F.cross_entropy(logits.t(), label)) / 2)


def test_the_nodes_are_the_groups_of_channels_of_one_view():
    method = make("cmc").eval()
    views = batch(method)
    data = method.graph(views)
    x = data["view"].x
    assert len(x) == 2 * SIZE
    assert data.num_views == 2
    assert torch.equal(data["view"].sample, views.sample.repeat(2))
    without = views.inputs.clone()
    without[:, 1:] = 0
    other = method.graph(Batch(without, views.sample, 0.9))["view"].x
    assert torch.equal(other[:SIZE], x[:SIZE])
    assert not torch.allclose(other[SIZE:], x[SIZE:])


def test_both_views_of_a_measurement_are_of_one_crop():
    method = make("cmc").eval()
    features = method.encoder(torch.randn(2 * SIZE, 3, 4, 4))
    first = method.positives(features)
    assert first.shape == (2 * SIZE, 6)
    features[SIZE:] = 0
    assert torch.equal(method.positives(features), first)


def test_it_scores_the_weight_of_its_graph():
    method = make("cmc").eval()
    pixels, labels = torch.randn(12, 3, 4, 4), torch.arange(12) % 3
    scores = method.scores(lambda: Preview(pixels, labels, ((), ()), 0))
    assert list(scores) == ["own_weight", "within_weight", "between_weight"]
    assert sum(scores.values()) == pytest.approx(1)
    assert method.scores(lambda: Preview(pixels, labels * 0 - 1, ((), ()), 0)) == {}


def test_it_expects_two_encoders():
    with pytest.raises(ConfigError, match=r"encoder.split=0 has one encoder see all channels, and method.name=cmc"):
        build_config({"method": {"name": "cmc"}, "encoder": {"split": 0}})
    with pytest.raises(ConfigError, match=r"encoder.split=1: method.name=clustermim hides patches of whole images"):
        build_config({"method": {"name": "clustermim"}, "encoder": {"split": 1}})
    with pytest.raises(ConfigError, match="expects an encoder for each of two groups of channels"):
        build_method(build_config({"method": {"name": "cmc"}}).method, Flatten(), HEADS, 20)
    config = build_config({"method": {"name": "cmc"}})
    assert config.encoder.split == 1
    assert (config.data.augment.jitter, config.data.augment.grayscale) == ((0, 0, 0, 0), 0)
