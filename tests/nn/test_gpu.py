"""Layers and losses on the fake GPU of `conftest.py`: they never wait for it, and all their tensors lie on it."""

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from cl_as_gnn import nn
from cl_as_gnn.nn import functional as F
from cl_as_gnn.nn.streaming.attention import _attention, _attention_backward
from cl_as_gnn.nn.streaming.linear_attention import _by_graph
from cl_as_gnn.nn.terms import GaussianRepulsion

NODES, EDGES, WIDTH = 60, 200, 8
CALLS = {
    "AlignmentConv": lambda x, edges, weight: nn.AlignmentConv(num_hops=2)(x, edges, weight),
    "UniformityConv": lambda x, edges, weight: nn.UniformityConv()(x),
    "UniformityConv, batch": lambda x, edges, weight: nn.UniformityConv()(x, batch=edges[0, :NODES]),
    "UniformityConv, edges": lambda x, edges, weight: nn.UniformityConv()(x, edges),
    "ContrastiveConv": lambda x, edges, weight: nn.ContrastiveConv()(x, edges, edges),
    "SpectralConv": lambda x, edges, weight: nn.SpectralConv()(x, edges, weight),
    "HardestPositiveConv": lambda x, edges, weight: nn.HardestPositiveConv()(x, edges),
    "PositiveAttention": lambda x, edges, weight: nn.PositiveAttention()(x, edges),
    "nt_xent": lambda x, edges, weight: F.nt_xent(x, edges, edge_weight=weight),
    "nt_xent, chunks": lambda x, edges, weight: F.nt_xent(x, edges, chunk=16),
    "nt_xent, batch": lambda x, edges, weight: F.nt_xent(x, edges, batch=edges[0, :NODES]),
    "nt_xent, bipartite": lambda x, edges, weight: F.nt_xent((x, x), edges),
    "alignment_loss": lambda x, edges, weight: F.alignment_loss(x, edges, edge_weight=weight),
    "uniformity_loss": lambda x, edges, weight: F.uniformity_loss(x),
    "spectral_contrastive_loss": lambda x, edges, weight: F.spectral_contrastive_loss(x, edges, edge_weight=weight),
    "spectral, bipartite": lambda x, edges, weight: F.spectral_contrastive_loss((x, x), edges),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_waits_for_the_gpu(fake_gpu, name):
    x = fake_gpu.empty(NODES, WIDTH, requires_grad=True)
    edges, weight = fake_gpu.empty(2, EDGES, dtype=torch.long), fake_gpu.empty(EDGES)
    out = fake_gpu.running(CALLS[name], x, edges, weight)
    with fake_gpu.mixed():
        mixed = fake_gpu.running(CALLS[name], x, edges, weight)
    assert (out.device, mixed.device, mixed.dtype) == (fake_gpu.device, fake_gpu.device, torch.float32)


@pytest.mark.parametrize("mode", ["fixed", "learned", "attention"])
def test_stages_do_not_wait_for_the_gpu(fake_gpu, mode):
    layer = fake_gpu.move(nn.StageAggregation((0.6, 0.4), mode))
    seen = fake_gpu.empty(2, NODES, dtype=torch.bool)
    assert fake_gpu.running(layer, fake_gpu.empty(2, NODES, WIDTH), seen).device == fake_gpu.device


@pytest.mark.parametrize("linear", [False, True])
def test_contranorm_does_not_wait_for_the_gpu(fake_gpu, linear):
    norm = fake_gpu.move(nn.ContraNorm(WIDTH, linear=linear))
    x, batch = fake_gpu.empty(NODES, WIDTH), fake_gpu.empty(NODES, dtype=torch.long)
    assert fake_gpu.running(norm, x).device == fake_gpu.device
    assert fake_gpu.running(norm, x, batch, 3).device == fake_gpu.device


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_attention_itself_does_not_wait_for_the_gpu(fake_gpu, loops, graphs):
    """A custom operator shows a fake tensor only its shape, so the test calls the function behind it."""
    x, batch = fake_gpu.empty(NODES, WIDTH), fake_gpu.empty(NODES, dtype=torch.long) if graphs else None
    out = fake_gpu.running(_attention._init_fn, x, x, x, 0.5, loops, batch)
    grads = fake_gpu.running(_attention_backward._init_fn, [x, x, x, out, x], 0.5, loops, batch)
    assert {t.device for t in (out, *grads)} == {fake_gpu.device}


def test_pairs_within_graphs_do_not_wait_for_the_gpu(fake_gpu):
    x, batch = fake_gpu.empty(NODES, WIDTH), fake_gpu.empty(NODES, dtype=torch.long)
    for out in fake_gpu.running(GaussianRepulsion(batch=batch), x):
        assert out.device == fake_gpu.device


def test_linear_attention_over_graphs_does_wait(fake_gpu):
    x, batch = fake_gpu.empty(NODES, WIDTH), fake_gpu.empty(NODES, dtype=torch.long)
    with pytest.raises(DynamicOutputShapeException):
        fake_gpu.running(_by_graph._init_fn, x, x, x, batch)
