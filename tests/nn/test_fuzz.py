"""Layers and losses on hostile input against their formulas, written out densely in float64.

A call raises a ``ValueError`` of one line or agrees with the formula, in whatever way it is made: in inference mode, in
``torch.func``, compiled, exported, from threads, by a copied or pickled layer. ``CLGNN_FUZZ=10000`` draws as many.
"""

import copy
import math
import os
import pickle
import runpy
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_as_gnn import nn
from cl_as_gnn.graph import knn_edges
from cl_as_gnn.nn import functional

EXAMPLES = int(os.environ.get("CLGNN_FUZZ", "200"))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
formulas = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("formulas.py"))))
COUNTS: Counter[str] = Counter()
pytestmark = [pytest.mark.timeout(0)] if EXAMPLES > 200 else []


def again(layer, c):
    """The layer, or a copy of it."""
    way = {"deepcopy": copy.deepcopy, "pickle": lambda layer: pickle.loads(pickle.dumps(layer))}
    return way.get(c["way"], lambda layer: layer)(layer)


CASES = {
    "nt_xent": (lambda x, c: functional.nt_xent(x, c["edges"], c["tau"], c["given"], c["batch"]), formulas.nt_xent),
    "alignment_loss": (
        lambda x, c: functional.alignment_loss(x, c["edges"], c["alpha"], c["given"]),
        formulas.alignment_loss,
    ),
    "uniformity_loss": (lambda x, c: functional.uniformity_loss(x, c["t"], c["batch"]), formulas.uniformity_loss),
    "spectral_loss": (
        lambda x, c: functional.spectral_contrastive_loss(x, c["edges"], 1.0, c["given"], c["batch"]),
        formulas.spectral_loss,
    ),
    "NTXentLoss": (
        lambda x, c: again(nn.NTXentLoss(c["tau"]), c)(*formulas.views(x)),
        formulas.of_views(formulas.nt_xent),
    ),
    "SpectralContrastiveLoss": (
        lambda x, c: again(nn.SpectralContrastiveLoss(), c)(*formulas.views(x)),
        formulas.of_views(formulas.spectral_loss),
    ),
    "SupConLoss": (
        lambda x, c: again(nn.SupConLoss(c["tau"]), c)(
            x, torch.arange(len(x)) % 2 if c["batch"] is None else c["batch"]
        ),
        formulas.supcon,
    ),
    "CLIPLoss": (lambda x, c: again(nn.CLIPLoss(c["tau"]), c)(*formulas.views(x)), formulas.clip),
    "SigLIPLoss": (lambda x, c: again(nn.SigLIPLoss(c["t"], -c["alpha"]), c)(*formulas.views(x)), formulas.siglip),
    "AlignmentConv": (
        lambda x, c: again(nn.AlignmentConv(), c)(x, c["edges"], c["given"]),
        lambda x, c: formulas.attract(x, c, 0.5),
    ),
    "UniformityConv": (
        lambda x, c: again(nn.UniformityConv(c["tau"]), c)(x, batch=c["batch"]),
        lambda x, c: formulas.repel(x, c, formulas.others(c["batch"], len(x))),
    ),
    "UniformityConv, edges": (
        lambda x, c: again(nn.UniformityConv(c["tau"]), c)(x, c["edges"], c["batch"]),
        formulas.along_edges,
    ),
    "ContrastiveConv": (
        lambda x, c: again(nn.ContrastiveConv(c["tau"]), c)(x, c["edges"], batch=c["batch"]),
        lambda x, c: (
            formulas.attract(x, {**c, "weight": torch.ones(c["edges"].size(1)).double()}, 0.5)
            + formulas.repel(x, c, formulas.others(c["batch"], len(x)))
            - x
        ),
    ),
    "SpectralConv": (
        lambda x, c: again(nn.SpectralConv(), c)(x, c["edges"], c["given"], c["batch"]),
        formulas.spectral_conv,
    ),
    "HardestPositiveConv": (lambda x, c: again(nn.HardestPositiveConv(), c)(x, c["edges"]), formulas.hardest),
    "PositiveAttention": (lambda x, c: again(nn.PositiveAttention(3.0), c)(x, c["edges"]), formulas.edge_attention),
    "StageAggregation": (
        lambda x, c: again(nn.StageAggregation(mode="attention", sharpness=2.0), c)(torch.stack([x, x.flip(0)])),
        formulas.stages,
    ),
    "ContraNorm": (
        lambda x, c: nn.ContraNorm(max(x.size(1), 1), temperature=c["tau"], layer_norm=False)(x, c["batch"]),
        formulas.contra,
    ),
    "ContraNorm, linear": (
        lambda x, c: nn.ContraNorm(max(x.size(1), 1), 0.1, max(c["tau"], 1.0), True, layer_norm=False)(x, c["batch"]),
        lambda x, c: formulas.contra(x, c, linear=True),
    ),
    "knn_edges": (lambda x, c: knn_edges(x, c["k"])[1], formulas.neighbors),
}
SPECTRAL = ("spectral_loss", "SpectralContrastiveLoss")  # rows shorter than 1 keep their length
LOSSES = (
    "nt_xent",
    "alignment_loss",
    "uniformity_loss",
    "NTXentLoss",
    "SupConLoss",
    "CLIPLoss",
    "SigLIPLoss",
    *SPECTRAL,
)
WAYS = ("plain", "plain", "inference", "deepcopy", "pickle", "threads", "jvp", "jacfwd", "vmap")
COMPILED = ("compile", "compile", "export")
RAW = ("UniformityConv", "UniformityConv, edges", "ContrastiveConv")  # softmax of inner products as they are


@st.composite
def inputs(draw, ways=WAYS):
    name, dtype = draw(st.sampled_from(list(CASES))), draw(st.sampled_from(DTYPES))
    way = draw(st.sampled_from(ways))
    tame = way in ("jvp", "jacfwd")  # tangents of float32 are compared at ordinary lengths and temperatures
    n, d = draw(st.sampled_from([0, 1, 2, 3, 3, 5, 8])), draw(st.sampled_from([0, 1, 2, 3, 3, 6]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = formulas.hostile(draw, n, d, dtype, generator, tame)
    count = draw(st.integers(0, 5)) if n else 0
    edges = torch.randint(0, max(n, 1), (2, count), generator=generator)
    batch = torch.randint(0, 2, (n,), generator=generator) if draw(st.booleans()) else None
    given_weight = None
    if draw(st.booleans()):
        given_weight = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.5, 1, 3]), min_size=count, max_size=count)))
    weight = torch.ones(count) if given_weight is None else given_weight
    c = {"edges": edges, "batch": batch, "given": given_weight, "weight": weight.double(), "k": draw(st.integers(1, 3))}
    c["tau"] = draw(st.sampled_from([*([] if tame else [1e-3, 0.01]), 0.1, 0.5, 1.0, 10.0, 100.0]))
    c["way"] = way
    c["t"], c["alpha"] = draw(st.sampled_from([0.1, 2.0, 10.0])), draw(st.sampled_from([0.5, 1.0, 2.0, 3.0]))
    return name, x, c


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


class Wrapped(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


def run(call, x, way):
    if way == "inference":
        with torch.inference_mode():
            return call(x)
    if way == "threads":
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(call, (x, x))
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
        return first
    if way == "vmap":
        return torch.vmap(call)(x[None])[0]
    if way == "compile":
        torch._dynamo.reset()
        return torch.compile(call, backend="aot_eager")(x)
    if way == "export":
        return torch.export.export(Wrapped(call), (x,)).module()(x)
    return call(x)


def check(name, x, c):
    call, formula = CASES[name]
    try:
        got = run(lambda x: call(x, c), x, c["way"])
        if c["way"] in ("jvp", "jacfwd"):
            check_tangent(name, x, c)
    except (ValueError, RuntimeError) as error:
        # What torch.func and the compilers do not take, they say in their own words.
        if "\n" in str(error) if isinstance(error, ValueError) else c["way"] in WAYS[:6]:
            raise
        COUNTS["refused" if isinstance(error, ValueError) else f"refused in {c['way']}"] += 1
        return
    COUNTS["compared"] += 1
    COUNTS[c["way"]] += 1
    wide = x.double().clone()
    expected = formula(wide, {**c, "got": got.double()})
    assert got.shape == expected.shape
    peak = float(wide.abs().max()) if x.numel() else 0.0
    if name == "SpectralConv" and peak > 1e9 and x.dtype != torch.float64:
        COUNTS["overflow"] += 1  # the cube of the length is beyond float32: it has to be seen
        assert peak < 1e13 or not got.isfinite().all()
        return
    if name in RAW and c["way"] in ("vmap", *COMPILED) and peak**2 / c["tau"] > 1e38 and got.isnan().any():
        COUNTS["overflow"] += 1  # where no value can be looked at, the inner products are not computed in float64
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
    if name in LOSSES and c["way"] not in ("inference", "export") and x.numel():
        check_gradient(name, x, c)


def check_tangent(name, x, c):
    """Against finite differences of the formula, where it is smooth and float32 has the digits."""
    call, formula = CASES[name]
    row = x.double().norm(dim=1)
    smooth = name not in ("HardestPositiveConv", "PositiveAttention", "knn_edges", "alignment_loss")
    if not smooth or x.dtype.itemsize == 2 or c["tau"] < 0.1 or not ((row > 0.1) & (row < 10)).all() or not x.numel():
        return
    v, wide = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double(), x.double()
    if c["way"] == "jvp":
        got = torch.func.jvp(lambda x: call(x, c), (x,), (v.to(x.dtype),))[1]
    else:
        jacobian = torch.func.jacfwd(lambda x: call(x, c))(x)
        got = (jacobian * v.to(x.dtype)).flatten(-2).sum(-1)
    expected = (formula(wide + 1e-6 * v, c) - formula(wide - 1e-6 * v, c)) / 2e-6
    COUNTS["tangents"] += 1
    torch.testing.assert_close(got.double(), expected, atol=2e-3 * (1 + float(expected.abs().max())), rtol=0)


def check_gradient(name, x, c):
    """Times the length of the row, on which the gradient of a loss of unit rows depends inversely."""
    call, formula = CASES[name]
    mine, wide = x.clone().requires_grad_(), x.double().clone().requires_grad_()
    loss = run(lambda x: call(x, c), mine, c["way"]) if c["way"] == "compile" else call(mine, c)
    (got,), (expected,) = torch.autograd.grad(loss, mine), torch.autograd.grad(formula(wide, c), wide)
    length = x.double().norm(dim=1, keepdim=True)
    length = torch.where(length > 0, length, 1)
    if name in SPECTRAL:
        length = length.clamp(max=1)
    live = (x != 0).any(1) if name not in SPECTRAL else torch.ones(len(x), dtype=torch.bool)
    live = live[:, None] & (expected.abs() < 0.9 * torch.finfo(x.dtype).max)
    scaled = (got.double() * length)[live]
    bound = max(tolerance(name, x, c) / min(c["tau"], 1), 1e-2 if x.dtype.itemsize == 2 else 0)
    if c["alpha"] < 2 and name == "alignment_loss":
        return  # the slope is infinite at equal rows
    if bound < 1:
        COUNTS["gradients"] += 1
        torch.testing.assert_close(scaled, (expected * length)[live], atol=bound, rtol=1e-2)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 200)
@given(inputs())
def test_agrees_with_the_formula_or_is_one_line(example):
    check(*example)


@settings(
    max_examples=2 if EXAMPLES == 200 else max(EXAMPLES // 50, 2),  # a second or more each
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES == 200,
)
@given(inputs(COMPILED))
def test_agrees_when_compiled_or_exported(example):
    check(*example)


@pytest.fixture(scope="module", autouse=True)
def _counts():
    yield
    if os.environ.get("CLGNN_FUZZ"):
        print("\n", dict(COUNTS))  # noqa: T201
