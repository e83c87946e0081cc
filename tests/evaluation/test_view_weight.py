"""Shares of the weight between two views."""

import pytest
import torch

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import view_weight


def test_it_is_the_transcription():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 9, 4, generator=generator, dtype=torch.double)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, -1])
    expected = torch.zeros(3, dtype=torch.double)
    for block in ([0, 2, 4, 6], [1, 3, 5, 7]):  # two blocks of the eight with a label
        weight = torch.zeros(4, 4, dtype=torch.double)
        for i, a in enumerate(block):
            for j, b in enumerate(block):
                s = torch.cosine_similarity(x[a], y[b], 0).div(0.2).exp()
                row = sum(torch.cosine_similarity(x[a], y[k], 0).div(0.2).exp() for k in block)
                column = sum(torch.cosine_similarity(x[k], y[b], 0).div(0.2).exp() for k in block)
                weight[i, j] = (s / row + s / column) / 2
                kind = 0 if a == b else 1 if labels[a] == labels[b] else 2
                expected[kind] += weight[i, j] / 8
        torch.testing.assert_close(weight.sum(), torch.tensor(4.0, dtype=torch.double))
    assert view_weight(x, y, labels, 0.2, k=4) == pytest.approx(tuple(expected.tolist()), abs=1e-12)


def test_what_is_told_apart_stays_and_what_is_not_is_spread_evenly():
    labels = torch.arange(20) // 10
    apart = view_weight(torch.eye(20), torch.eye(20), labels, 0.01)
    assert apart == pytest.approx((1, 0, 0), abs=1e-9)
    alike = view_weight(torch.ones(20, 2), torch.ones(20, 2), labels, 0.1)
    assert alike == pytest.approx((1 / 20, 9 / 20, 10 / 20))
    classes = torch.eye(2)[labels]
    assert view_weight(classes, classes, labels, 0.01) == pytest.approx((1 / 10, 9 / 10, 0), abs=1e-9)


def test_bad_input_is_named():
    x, labels = torch.randn(4, 2), torch.arange(4)
    with pytest.raises(ConfigError, match="temperature"):
        view_weight(x, x, labels, 0)
    with pytest.raises(ValueError, match=r"y of shape \(4, 2\), a positive for each row of x, got \(3, 2\)"):
        view_weight(x, x[:3], labels, 1)
    with pytest.raises(ValueError, match="no sample has a label"):
        view_weight(x, x, labels * 0 - 1, 1)
