"""Losses as modules against transcriptions of their papers; two processes against one.

Run as a script, this file is one of the two processes.
"""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from forked import Forked
from torch.nn.parallel import DistributedDataParallel

from cl_as_gnn.nn import (
    BarlowTwinsLoss,
    CLIPLoss,
    DCLLoss,
    NTXentLoss,
    PairNTXentLoss,
    SigLIPLoss,
    SpectralContrastiveLoss,
    SupConLoss,
    VICRegLoss,
)
from cl_as_gnn.nn.functional import spectral_contrastive_loss

MODULES = (NTXentLoss, SpectralContrastiveLoss, CLIPLoss, SigLIPLoss, BarlowTwinsLoss, VICRegLoss, DCLLoss)
LABELED = (SupConLoss, PairNTXentLoss)


def rows(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.double, generator=source).requires_grad_()


def alike(ours, theirs, inputs):
    """Both losses, and their gradients in every input."""
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    got, wanted = (torch.autograd.grad(loss, inputs) for loss in (ours, theirs))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)
        assert b.abs().max() > 1e-4


@pytest.mark.parametrize("num_views", [2, 3])
def test_nt_xent_is_a_cross_entropy_over_all_other_views(num_views):
    views = [rows(6, 4, seed=v) for v in range(num_views)]
    z = F.normalize(torch.cat(views), dim=1)
    logits = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
    own = torch.arange(6 * num_views)
    theirs = sum(F.cross_entropy(logits, own.roll(6 * shift)) for shift in range(1, num_views)) / (num_views - 1)
    alike(NTXentLoss(0.2)(*views), theirs, views)


def test_sup_con_averages_over_the_anchors_that_have_a_positive():
    x, y = rows(9, 4), torch.tensor([0, 3, 1, 0, 2, 3, 0, 1, 3])
    z = F.normalize(x, dim=1)
    log_p = (z @ z.T / 0.1).fill_diagonal_(-torch.inf).log_softmax(1).masked_fill(torch.eye(9).bool(), 0)
    same = (y.unsqueeze(1) == y).double().fill_diagonal_(0)
    each = -(log_p * same).sum(1) / same.sum(1).clamp(min=1)
    alike(SupConLoss(0.1)(x, y), each[same.sum(1) > 0].mean(), [x])


@pytest.mark.parametrize("module", LABELED)
def test_without_two_rows_of_one_label_the_loss_is_zero(module):
    x = rows(4, 3)
    loss = module()(x, torch.arange(4))
    loss.backward()
    assert loss == 0
    assert x.grad.abs().max() == 0


def test_clip_trains_both_sides_and_its_temperature():
    u, v, module = rows(7, 4), rows(7, 4, seed=1), CLIPLoss(0.5).double()
    logits = module.log_scale.exp() * F.normalize(u, dim=1) @ F.normalize(v, dim=1).T
    own = torch.arange(7)
    theirs = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    alike(module(u, v), theirs, [u, v, module.log_scale])
    module.log_scale.data.fill_(9.0)
    assert torch.autograd.grad(module(u, v), module.log_scale)[0] == 0
    assert module(u, v) == CLIPLoss(1 / 100).double()(u, v)


def test_siglip_trains_both_sides_its_scale_and_its_bias():
    u, v, module = rows(7, 4), rows(7, 4, seed=1), SigLIPLoss(3.0, -2.0).double()
    logits = module.log_scale.exp() * F.normalize(u, dim=1) @ F.normalize(v, dim=1).T + module.bias
    sign = 2 * torch.eye(7).double() - 1
    theirs = -F.logsigmoid(sign * logits).sum() / 7
    alike(module(u, v), theirs, [u, v, module.log_scale, module.bias])


def test_spectral_loss_is_the_function_on_the_pairs():
    u, v = rows(7, 4), rows(7, 4, seed=1)
    edges = torch.stack([torch.cat([torch.arange(7) + 7, torch.arange(7)]), torch.arange(14)])
    alike(SpectralContrastiveLoss(2.0)(u, v), spectral_contrastive_loss(torch.cat([u, v]), edges, 2.0), [u, v])


@pytest.mark.parametrize("module", MODULES)
def test_half_precision_and_wrong_shapes(module):
    u, v = (torch.randn(6, 4, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(2))
    assert module()(u, v).dtype == torch.float32
    with pytest.raises(
        ValueError, match=f"{module.__name__} expects (views\\[1\\]|second) in the shape \\(B, d\\) of the other"
    ):
        module()(u, v[:3])
    assert module.__name__ in repr(module())


@pytest.mark.parametrize("module", [NTXentLoss, SpectralContrastiveLoss, VICRegLoss])
def test_one_view_is_no_pair(module):
    with pytest.raises(ValueError, match="expects views as two tensors or more, got 1"):
        module()(torch.ones(3, 2))


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"SupConLoss expects labels as integers of shape \(3,\)"):
        SupConLoss()(torch.ones(3, 2), torch.arange(4))


@pytest.mark.parametrize(
    ("make", "said"), [(lambda: NTXentLoss(0), "temperature"), (lambda: CLIPLoss(-1), "temperature")]
)
def test_a_temperature_is_positive(make, said):
    with pytest.raises(ValueError, match=said):
        make()


class Pair(torch.nn.Module):
    """A linear encoder under a loss."""

    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.loss = torch.nn.Linear(5, 4), loss
        self.double()

    def forward(self, u, v, y):
        if isinstance(self.loss, LABELED):
            return self.loss(self.encoder(u), y)
        return self.loss(self.encoder(u), self.encoder(v))


def gradients(rank=0, ranks=1):
    u, v = (rows(8, 5, seed=seed).detach().chunk(ranks)[rank] for seed in (2, 3))
    y, found = (torch.arange(8) % 3).chunk(ranks)[rank], {}
    for module in (*MODULES, *LABELED):
        model = Pair(module(gather_distributed=True))
        shared = DistributedDataParallel(model) if ranks > 1 else model  # which averages as long as it lives
        loss = shared(u, v, y)
        loss.backward()
        found[module.__name__] = [loss.detach(), *(p.grad for p in model.parameters())]
    return found


def test_two_ranks_have_the_loss_and_the_gradients_of_one(tmp_path):
    started = [Forked(tmp_path, rank, tmp_path, script=__file__) for rank in range(2)]
    try:
        assert [process.wait(200) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    alone = gradients()
    for rank in range(2):
        for name, values in torch.load(tmp_path / f"{rank}.pt").items():
            for value, one in zip(values, alone[name], strict=True):
                torch.testing.assert_close(value, one, atol=1e-10, rtol=1e-10, msg=lambda text, name=name: name + text)


if __name__ == "__main__":
    own, place = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=own, world_size=2)
    torch.save(gradients(own, 2), place / f"{own}.pt")
    dist.destroy_process_group()
