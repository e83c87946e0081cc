"""The loss modules against the packages whose calls they take: equal values and gradients (extra ``peers``)."""

import pytest
import torch
import torch.nn.functional as F
from agree import assert_equal

from cl_as_gnn import nn


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(24, 8, generator=generator, dtype=torch.double) for _ in range(2)]


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_nt_xent_is_that_of_lightly(temperature, views):
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=temperature)
    assert_equal(nn.NTXentLoss(temperature), theirs, *views)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_nt_xent_is_that_of_pytorch_metric_learning(temperature, views):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    theirs = losses.SelfSupervisedLoss(losses.NTXentLoss(temperature=temperature))
    assert_equal(nn.NTXentLoss(temperature), theirs, *views)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_supcon_is_that_of_pytorch_metric_learning(temperature, views):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    labels = torch.arange(24) % 5
    theirs = losses.SupConLoss(temperature=temperature)
    assert_equal(lambda x: nn.SupConLoss(temperature)(x, labels), lambda x: theirs(x, labels), views[0])


def test_clip_and_siglip_are_those_of_open_clip(views):
    """There the model brings rows to unit length, here the loss does."""
    theirs = pytest.importorskip("open_clip.loss")
    clip, siglip = theirs.ClipLoss(), theirs.SigLipLoss()
    scale, bias, inverse = torch.tensor([10.0, -10.0, 1 / 0.07], dtype=torch.double)

    def unit(loss, *rest):
        return lambda a, b: loss(F.normalize(a, dim=1), F.normalize(b, dim=1), *rest)

    assert_equal(nn.CLIPLoss(0.07).double(), unit(clip, inverse), *views)
    assert_equal(nn.SigLIPLoss(10.0, -10.0).double(), unit(siglip, scale, bias), *views)
