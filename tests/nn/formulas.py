"""The formulas of layers, losses and kNN, written out densely in float64; and hostile rows to try them on."""

import math

import torch
import torch.nn.functional as F
from hypothesis import strategies as st

EMPTY = -math.inf


def unit(x):
    norm = x.norm(dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)


def hostile(draw, n, d, dtype, generator, tame=False):
    """Rows of lengths from 1e-20 to 1e20, zeros and repeats among them, in some layout of memory."""
    x = torch.randn(n, d, generator=generator, dtype=torch.double)
    powers = st.sampled_from([-4, 0, 0, 3] if dtype == torch.float16 else [-20, -13, -4, 0, 0, 3, 12, 20])
    powers = st.just(0) if tame else powers
    same = draw(st.none() | powers)
    for i in range(n):
        kind = draw(st.sampled_from(["row"] * 4 + ["row" if tame else "zero", "copy"]))
        if kind == "copy" and i:
            x[i] = x[i - 1]
        else:
            x[i] *= 0 if kind == "zero" else 10.0 ** (draw(powers) if same is None else same)
    x = x.to(dtype)
    if draw(st.booleans()):
        x = x.t().contiguous().t() if draw(st.booleans()) else torch.stack([x, x], 2)[:, :, 0]
    return x


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


def halves(x, c):
    """Two views of each sample, as rows and as edges."""
    size = len(x) // 2
    node = torch.arange(2 * size)
    return x[: 2 * size], {**c, "edges": torch.stack([node, node.roll(size)]), "weight": torch.ones(2 * size).double()}


def views(x):
    return x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2]


def of_views(formula):
    return lambda x, c: formula(*halves(x, {**c, "batch": None}))


def supcon(x, c):
    label = torch.arange(len(x)) % 2 if c["batch"] is None else c["batch"]
    same = (label[:, None] == label).double().fill_diagonal_(0)
    edges = same.nonzero().t().flip(0)
    return nt_xent(x, {**c, "edges": edges, "weight": 1 / same.sum(1)[edges[1]], "batch": None})


def clip(x, c):
    u, v = map(unit, views(x))
    logits, own = u @ v.t() * min(1 / c["tau"], 100.0), torch.arange(len(u))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2


def siglip(x, c):
    u, v = map(unit, views(x))
    logits = c["t"] * u @ v.t() - c["alpha"]
    return -F.logsigmoid(logits * (2 * torch.eye(len(u)).double() - 1)).sum() / len(u)


def neighbors(x, c):
    cosine = (unit(x) @ unit(x).t()).fill_diagonal_(-2)
    return cosine.topk(c["k"], 1).values.flatten()
