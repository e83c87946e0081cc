"""Layers and losses on hostile input against their formulas, written out densely in float64.

A call raises a ``ValueError`` of one line or agrees with the formula. ``CLGNN_FUZZ=10000`` draws as many examples.
"""

import math
import os
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_as_gnn import nn
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.nn import functional

EXAMPLES = int(os.environ.get("CLGNN_FUZZ", "200"))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
COUNTS: Counter[str] = Counter()
EMPTY = -math.inf


def unit(x):
    norm = x.norm(dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)


def dense(edges, weight, n):
    out = torch.zeros(n, n, dtype=torch.double)
    return out.index_put_((edges[1], edges[0]), weight, accumulate=True)


def softmax(logits, allowed):
    """Row softmax over the allowed pairs; zeros for a row without one."""
    return torch.softmax(logits.masked_fill(~allowed, EMPTY), 1).nan_to_num(0.0)


def others(batch, n, loops=False):
    same = torch.ones(n, n, dtype=torch.bool) if batch is None else batch[:, None] == batch
    return same if loops else same & ~torch.eye(n, dtype=torch.bool)


def nt_xent(x, c):
    z, n = unit(x), len(x)
    logits = z @ z.t() / c["tau"]
    lse = logits.masked_fill(~others(c["batch"], n), EMPTY).logsumexp(1)
    lse = lse.masked_fill(lse == EMPTY, 0)
    a = dense(c["edges"], c["weight"], n)
    return -(a * (logits - lse[:, None])).sum() / a.sum().clamp(min=1e-300)


def alignment_loss(x, c):
    z, (j, i) = unit(x), c["edges"]
    square = (z[i] - z[j]).square().sum(1)
    power = torch.where(square > 0, square, 1).pow(c["alpha"] / 2) * (square > 0)
    return (c["weight"] * power).sum() / c["weight"].sum().clamp(min=1e-300)


def uniformity_loss(x, c):
    z, pairs = unit(x), others(c["batch"], len(x))
    square = (z[:, None] - z).square().sum(2)
    return (-c["t"] * square[pairs]).logsumexp(0) - math.log(pairs.sum())


def spectral_loss(x, c):
    z = torch.where(x.norm(dim=1, keepdim=True) > 1, unit(x), x)
    pairs, a = others(c["batch"], len(x)), dense(c["edges"], c["weight"], len(x))
    square = ((z @ z.t()).square() * pairs).sum() / pairs.sum().clamp(min=1)
    return square - 2 * ((z @ z.t()) * a).sum() / a.sum().clamp(min=1e-300)


def attract(x, c, step):
    a = dense(c["edges"], c["weight"], len(x))
    degrees = [a.sum(1)[:, None], a.sum(0)]
    root = [torch.where(d > 0, d.clamp(min=1e-300).rsqrt(), 0) for d in degrees]
    return torch.where(degrees[0] != 0, (1 - step) * x + step * (a * root[0] * root[1]) @ x, x)


def repel(x, c, allowed, step=0.5):
    share = softmax(x @ x.t() / c["tau"], allowed)
    return torch.where(allowed.any(1, keepdim=True), (1 + step) * x - step * share @ x, x)


def along_edges(x, c):
    j, i = c["edges"]
    logits = (x[i] * x[j]).sum(1) / c["tau"]
    top = torch.full((len(x),), EMPTY, dtype=torch.double).scatter_reduce(0, i, logits, "amax")
    share = (logits - top[i]).exp()
    share = share / torch.zeros(len(x), dtype=torch.double).index_add(0, i, share)[i]
    a = dense(c["edges"], share, len(x))
    return torch.where(a.any(1, keepdim=True), 1.5 * x - 0.5 * a @ x, x)


def spectral_conv(x, c):
    a, pairs = attract(x, c, 1.0), others(c["batch"], len(x), True).double()
    received = dense(c["edges"], c["weight"], len(x)).sum(1, keepdim=True) > 0
    return x + 0.5 * (a * received - ((x @ x.t()) * pairs) @ x / pairs.sum(1, keepdim=True))


def hardest(x, c):
    z, out = unit(x), x.clone()
    for i in range(len(x)):
        sources = sorted(set(c["edges"][0][c["edges"][1] == i].tolist()))
        if sources:
            cosine = z[sources] @ z[i]
            close = [s for s, v in zip(sources, cosine, strict=True) if v <= cosine.min() + 1e-5]
            options = torch.stack([0.5 * (x[i] + x[s]) for s in close])
            out[i] = options[(options - c["got"][i]).abs().sum(1).argmin()]
    return out


def edge_attention(x, c):
    z, (j, i) = unit(x), c["edges"]
    share = (3 * (z[i] * z[j]).sum(1)).exp()
    return share / torch.zeros(len(x), dtype=torch.double).index_add(0, i, share)[i]


def stages(x, c):
    z = unit(torch.stack([x, x.flip(0)]))
    share = (2 * (z[:1] * z).sum(-1)).exp()
    return (share[..., None] * z).sum(0) / share.sum(0)[:, None]


def contra(x, c, linear=False):
    z, pairs = unit(x), others(c["batch"], len(x), True)
    tau = max(c["tau"], 1.0) if linear else c["tau"]
    share = (1 + z @ z.t() / tau) * pairs if linear else softmax(z @ z.t() / tau, pairs)
    # At τ = 1 opposite rows alone would divide by zero; a node itself has weight 2.
    return 1.1 * x - 0.1 * (share / share.sum(1, keepdim=True)) @ x


def neighbors(x, c):
    cosine = (unit(x) @ unit(x).t()).fill_diagonal_(-2)
    return cosine.topk(c["k"], 1).values.flatten()


CASES = {
    "nt_xent": (lambda x, c: functional.nt_xent(x, c["edges"], c["tau"], c["given"], c["batch"]), nt_xent),
    "alignment_loss": (lambda x, c: functional.alignment_loss(x, c["edges"], c["alpha"], c["given"]), alignment_loss),
    "uniformity_loss": (lambda x, c: functional.uniformity_loss(x, c["t"], c["batch"]), uniformity_loss),
    "spectral_loss": (
        lambda x, c: functional.spectral_contrastive_loss(x, c["edges"], 1.0, c["given"], c["batch"]),
        spectral_loss,
    ),
    "AlignmentConv": (lambda x, c: nn.AlignmentConv()(x, c["edges"], c["given"]), lambda x, c: attract(x, c, 0.5)),
    "UniformityConv": (
        lambda x, c: nn.UniformityConv(c["tau"])(x, batch=c["batch"]),
        lambda x, c: repel(x, c, others(c["batch"], len(x))),
    ),
    "UniformityConv, edges": (
        lambda x, c: nn.UniformityConv(c["tau"])(x, c["edges"], c["batch"]),
        along_edges,
    ),
    "ContrastiveConv": (
        lambda x, c: nn.ContrastiveConv(c["tau"])(x, c["edges"], batch=c["batch"]),
        lambda x, c: (
            attract(x, {**c, "weight": torch.ones(c["edges"].size(1)).double()}, 0.5)
            + repel(x, c, others(c["batch"], len(x)))
            - x
        ),
    ),
    "SpectralConv": (lambda x, c: nn.SpectralConv()(x, c["edges"], c["given"], c["batch"]), spectral_conv),
    "HardestPositiveConv": (lambda x, c: nn.HardestPositiveConv()(x, c["edges"]), hardest),
    "PositiveAttention": (lambda x, c: nn.PositiveAttention(3.0)(x, c["edges"]), edge_attention),
    "StageAggregation": (
        lambda x, c: nn.StageAggregation(mode="attention", sharpness=2.0)(torch.stack([x, x.flip(0)])),
        stages,
    ),
    "ContraNorm": (
        lambda x, c: nn.ContraNorm(max(x.size(1), 1), temperature=c["tau"], layer_norm=False)(x, c["batch"]),
        contra,
    ),
    "ContraNorm, linear": (
        lambda x, c: nn.ContraNorm(max(x.size(1), 1), 0.1, max(c["tau"], 1.0), True, layer_norm=False)(x, c["batch"]),
        lambda x, c: contra(x, c, linear=True),
    ),
    "knn_edges": (lambda x, c: knn_edges(x, c["k"])[1], neighbors),
}
LOSSES = ("nt_xent", "alignment_loss", "uniformity_loss", "spectral_loss")
RAW = ("UniformityConv", "UniformityConv, edges", "ContrastiveConv")  # softmax of inner products as they are


@st.composite
def inputs(draw):
    name, dtype = draw(st.sampled_from(list(CASES))), draw(st.sampled_from(DTYPES))
    n, d = draw(st.sampled_from([0, 1, 2, 3, 3, 5, 8])), draw(st.sampled_from([0, 1, 2, 3, 3, 6]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(n, d, generator=generator, dtype=torch.double)
    powers = st.sampled_from([-4, 0, 0, 3] if dtype == torch.float16 else [-20, -13, -4, 0, 0, 3, 12, 20])
    same = draw(st.none() | powers)
    for i in range(n):
        kind = draw(st.sampled_from(["row"] * 4 + ["zero", "copy"]))
        if kind == "copy" and i:
            x[i] = x[i - 1]
        else:
            x[i] *= 0 if kind == "zero" else 10.0 ** (draw(powers) if same is None else same)
    x = x.to(dtype)
    if draw(st.booleans()):
        x = x.t().contiguous().t() if draw(st.booleans()) else torch.stack([x, x], 2)[:, :, 0]
    count = draw(st.integers(0, 5)) if n else 0
    edges = torch.randint(0, max(n, 1), (2, count), generator=generator)
    batch = torch.randint(0, 2, (n,), generator=generator) if draw(st.booleans()) else None
    given_weight = None
    if draw(st.booleans()):
        given_weight = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.5, 1, 3]), min_size=count, max_size=count)))
    weight = torch.ones(count) if given_weight is None else given_weight
    c = {"edges": edges, "batch": batch, "given": given_weight, "weight": weight.double(), "k": draw(st.integers(1, 3))}
    c["tau"] = draw(st.sampled_from([1e-3, 0.01, 0.1, 0.5, 1.0, 10.0, 100.0]))
    c["t"], c["alpha"] = draw(st.sampled_from([0.1, 2.0, 10.0])), draw(st.sampled_from([0.5, 1.0, 2.0, 3.0]))
    return name, x, c, draw(st.booleans())


def tolerance(name, x, c):
    """What rounding may do, times a margin; infinite where it decides which of two logits is larger."""
    work = torch.float64 if x.dtype == torch.float64 and name != "knn_edges" else torch.float32
    peak = float(x.double().abs().max()) if x.numel() else 0.0
    slack = 60 * torch.finfo(work).eps
    if name in LOSSES or name in ("PositiveAttention", "knn_edges"):
        return slack * (1 + 1 / c["tau"] + c["t"]) + (1e-3 if c["alpha"] < 1 and work == torch.float32 else 0)
    out = 1.0 if name == "StageAggregation" else max(peak, peak**3 if name == "SpectralConv" else 0)
    share = peak**2 / c["tau"] if name in RAW else 1 / c["tau"]
    share = math.inf if share * slack > 0.1 else share
    if name not in (*RAW, "ContraNorm"):
        share = 1.0
    return out * (slack * (1 + share) + 4 * torch.finfo(x.dtype).eps)


def check(name, x, c, inference):
    call, formula = CASES[name]
    try:
        with torch.inference_mode() if inference else nullcontext():
            got = call(x, c)
    except ValueError as error:
        assert "\n" not in str(error), error  # noqa: PT017
        COUNTS["refused"] += 1
        return
    COUNTS["compared"] += 1
    wide = x.double().clone()
    expected = formula(wide, {**c, "got": got.double()})
    assert got.shape == expected.shape
    peak = float(wide.abs().max()) if x.numel() else 0.0
    if name == "SpectralConv" and peak > 1e9 and x.dtype != torch.float64:
        COUNTS["overflow"] += 1  # the cube of the length is beyond float32: it has to be seen
        assert peak < 1e13 or not got.isfinite().all()
        return
    bound = tolerance(name, x, c)
    if bound == math.inf:  # near ties: which row a row is repelled from is a matter of rounding
        COUNTS["ties"] += 1
        bound = 4 * peak
    fits = expected.abs() < 0.9 * torch.finfo(got.dtype).max
    assert not (got.double()[~fits].abs() < 0.8 * torch.finfo(got.dtype).max).any()
    torch.testing.assert_close(
        got.double()[fits], expected[fits], atol=bound, rtol=1e-2 if x.dtype.itemsize == 2 else 1e-5
    )
    if name in LOSSES and not inference and x.numel():
        check_gradient(name, x, c)


def check_gradient(name, x, c):
    """Times the length of the row, on which the gradient of a loss of unit rows depends inversely."""
    call, formula = CASES[name]
    mine, wide = x.clone().requires_grad_(), x.double().clone().requires_grad_()
    (got,), (expected,) = (torch.autograd.grad(f(v, c), v) for f, v in ((call, mine), (formula, wide)))
    length = x.double().norm(dim=1, keepdim=True)
    length = torch.where(length > 0, length, 1)
    if name == "spectral_loss":
        length = length.clamp(max=1)
    live = (x != 0).any(1) if name != "spectral_loss" else torch.ones(len(x), dtype=torch.bool)
    live = live[:, None] & (expected.abs() < 0.9 * torch.finfo(x.dtype).max)
    scaled = (got.double() * length)[live]
    bound = max(tolerance(name, x, c) / c["tau"], 1e-2 if x.dtype.itemsize == 2 else 0)
    if c["alpha"] < 2 and name == "alignment_loss":
        return  # the slope is infinite at equal rows
    if bound < 1:
        COUNTS["gradients"] += 1
        torch.testing.assert_close(scaled, (expected * length)[live], atol=bound, rtol=1e-2)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 200)
@given(inputs())
def test_agrees_with_the_formula_or_is_one_line(example):
    check(*example)


@pytest.fixture(scope="module", autouse=True)
def _counts():
    yield
    if os.environ.get("CLGNN_FUZZ"):
        print("\n", dict(COUNTS))  # noqa: T201
