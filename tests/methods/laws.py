"""What the tests of the methods share: a tiny network, batches, and literal losses to compare with."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cl_as_gnn.config import EncoderConfig, build_config
from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.graph import view_graph
from cl_as_gnn.graph.schema import AUGMENTATION, TARGET_AUGMENTATION
from cl_as_gnn.methods import METHODS, Batch, build_method
from cl_as_gnn.nn.terms import objective

IMAGES = sorted(name for name, method in METHODS.items() if "images" in method.reads)
HEADS = EncoderConfig(projector_hidden=16, projector_dim=6, predictor_hidden=8)
SIZE = 7
VIT = {"look": {"tokens": 8, "causal": True}}


CHANNELS = {"cmc": 3}


class Flatten(nn.Module):
    """The smallest encoder there is."""

    out_dim = 16

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x):
        return self.linear(x.flatten(1))


def make(name, **settings):
    config = build_config({"method": {"name": name, **settings}}).method
    torch.manual_seed(0)
    patches = METHODS[name].needs_patches
    around = str(settings.get("objective", "")).startswith("masked")
    vit = ENCODERS["vit"].Config(width=8, **(VIT.get(name, {}) | ({"causal": False} if around else {})))
    encoder = build_encoder(vit, Inputs(1, 4)) if patches else Flatten()
    if METHODS[name].needs_split:
        encoder = build_encoder(ENCODERS["small"].Config(width=8, split=1), Inputs(CHANNELS[name], 4))
    return build_method(config, encoder, HEADS, num_samples=20)


def rows(count, seed=0, scale=1.0):
    return scale * torch.randn(count, 6, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def unit(views, seed=0):
    return F.normalize(rows(views * SIZE, seed), dim=1).requires_grad_()


def nowhere(labels=None, progress=0.9):
    return Batch(torch.empty(0), torch.arange(SIZE), progress, labels)


def check(method, x, data, expected, *parameters, views=None):
    loss = objective(x, *method.terms(data, views or nowhere()))
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-10, rtol=0)
    messages = torch.autograd.grad(loss, [x, *parameters])
    for message, grad in zip(messages, torch.autograd.grad(expected, [x, *parameters], retain_graph=True), strict=True):
        torch.testing.assert_close(message, grad, atol=1e-10 if grad.dtype == torch.double else 1e-6, rtol=0)
    assert messages[0].abs().max() > 1e-4


def info_nce(x, positives, temperature):
    """Mean over anchors with a positive, of the mean over their positives, of −log softmax over all others."""
    terms = []
    for i, own in enumerate(positives):
        logits = x @ x[i] / temperature
        others = torch.cat([logits[:i], logits[i + 1 :]]).logsumexp(0)
        if own:
            terms.append(sum(others - logits[j] for j in own) / len(own))
    return sum(terms) / len(terms)


def other_views(i, views):
    return [j for j in range(views * SIZE) if j % SIZE == i % SIZE and j != i]


def with_targets(x, views, seed=7):
    data = view_graph(x, views)
    data["target"].x = unit(views, seed).detach()
    data[TARGET_AUGMENTATION].edge_index = data[AUGMENTATION].edge_index
    return data


def batch(method, seed=0, progress=0.9):
    generator = torch.Generator().manual_seed(seed)
    views = method.config.num_views
    sample = torch.randperm(20, generator=generator)[:SIZE]
    channels = CHANNELS.get(method.config.name, 1)
    return Batch(torch.randn(views * SIZE, channels, 4, 4, generator=generator), sample, progress, sample % 3)


def log_softmax(x, temperature):
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)
    return logits.log_softmax(1)


def positives(views):
    n = views * SIZE
    node = torch.arange(n)
    same = (node[:, None] - node[None]) % SIZE == 0
    return (same & (node[:, None] != node[None])).double()


def cross_entropy(target, x, temperature):
    """−mean over anchors of the expected log-softmax under the rows of a target distribution."""
    return -(target * log_softmax(x, temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), 0)).sum() / len(x)
