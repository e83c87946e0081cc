"""The errors of the kernels against float64 tiles: run by test_fused.py in a process whose Triton interprets, or on a
GPU."""

import json
import math
import os
import sys

import torch
import torch.nn.functional as F

from cl_as_gnn.nn.streaming import (
    contrast_all_pairs,
    fused,
    softmax_all_pairs,
    softmax_bipartite,
    softmax_local_rows,
    softmax_over_keys,
)


def rows(n, d, unit=True, length=1.0):
    x = torch.randn(n, d)
    return F.normalize(x, dim=1) if unit else length * x


def apart(found, expected):
    """Largest relative difference of the results, −inf where both are −inf."""
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape, (one.shape, other.shape)
        assert torch.equal(one == -math.inf, other == -math.inf)
        one, other = (x.double().masked_fill(other == -math.inf, 0) for x in (one, other))
        worst = max(worst, float((one - other).norm() / other.norm().clamp(min=1e-30)))
    return worst


def both(call, *tensors):
    """The kernels in float32 against tiles in float64."""
    found = call(*tensors)
    return apart(found, call(*(t.double() if t.is_floating_point() else t for t in tensors)))


def graphs(sizes):
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return batch[torch.randperm(batch.numel())]


def weights(n):
    return torch.rand(n).masked_fill_(torch.rand(n) < 0.3, 0)


def edges(n):
    """Pairs both ways, some twice, some one way only, one node with many, and a loop."""
    a = torch.arange(n)
    pairs = torch.stack([a, (a + n // 2) % n])
    more = torch.stack([torch.arange(1, 12), torch.zeros(11, dtype=torch.long)])
    return torch.cat([pairs, pairs[:, :9], pairs[:, :5].flip(0), more, torch.tensor([[3], [3]])], 1)


def own_rows(n, d, temperature, unit):
    x, own, weight = rows(n, d, unit), torch.arange(n)[n // 3 :: 2], weights(n)
    lse, _ = softmax_all_pairs(x.double(), temperature, unit=unit)

    def call(x, weight):
        seen = []

        def join(part):
            seen.append(part)
            return lse.to(x.dtype)

        _, message = softmax_local_rows(x, own, join, temperature, weight, unit=unit)
        return seen[0], message

    return both(call, x, weight)


def along_edges(n, d, temperature, batch=None, near=None):
    x, index = rows(n, d), edges(n)
    if near is not None:
        x[n // 2 :] = F.normalize(x[: n - n // 2] + near * rows(n - n // 2, d), dim=1)
    weight = torch.rand(index.size(1))
    loops = index[0] == index[1]

    def call(x, weight):
        share, slope, message = contrast_all_pairs(x, index, weight, temperature, batch)
        return share[~loops], slope, message

    return both(call, x, weight)


def in_half(n, d, temperature):
    x = rows(n, d)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        found = softmax_all_pairs(x, temperature, unit=True)
    return apart(found, softmax_all_pairs(x.double(), temperature, unit=True))


def repeated(n, d):
    x = rows(n, d)
    one, two = (softmax_all_pairs(x, 0.3, unit=True) for _ in range(2))
    return float(not (torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])))


def everything():
    def pairs(n, d, temperature, unit=True, batch=None, length=1.0):
        call = lambda x, w: softmax_all_pairs(x, temperature, w, batch, unit=unit)  # noqa: E731
        return both(call, rows(n, d, unit, length), weights(n))

    def two_sets(n, m, d, temperature, length):
        call = lambda q, k, w: softmax_bipartite(q, k, temperature, w)  # noqa: E731
        return both(call, rows(n, d, False, length), rows(m, d, False, length), weights(n))

    def fixed(n, m, d, temperature):
        call = lambda q, k: softmax_over_keys(q, k, temperature)  # noqa: E731
        return both(call, rows(n, d), rows(m, d))

    return {
        "two nodes": pairs(2, 5, 1.0),
        "two blocks": pairs(70, 9, 0.5),
        "low temperature": pairs(300, 20, 0.01),
        "long rows": pairs(70, 33, 1.0, unit=False, length=3.0),
        "tiny rows": pairs(40, 16, 1.0, unit=False, length=1e-6),
        "graphs": pairs(150, 6, 0.5, batch=graphs([1, 60, 1, 88])),
        "graphs, low": pairs(100, 6, 0.01, batch=graphs([70, 1, 29])),
        "edges": along_edges(90, 8, 0.5),
        "edges, low": along_edges(90, 8, 0.01),
        "edges, graphs": along_edges(90, 8, 0.3, torch.arange(90) // 30 % 2),
        "edges, converged": along_edges(60, 16, 0.1, near=0.01),
        "own rows": own_rows(90, 7, 0.5, True),
        "own rows, low": own_rows(90, 7, 0.01, True),
        "own rows, long": own_rows(40, 7, 1.0, False),
        "two sets": two_sets(40, 90, 33, 0.5, 1.0),
        "two sets, long": two_sets(20, 30, 5, 0.1, 10.0),
        "fixed keys": fixed(40, 90, 33, 0.5),
        "half": in_half(100, 17, 0.5),
        "repeated": repeated(140, 8),
        "one node": both(lambda x: softmax_all_pairs(x, 0.5, unit=True), rows(1, 4)),
        "node of this rank alone": both(
            lambda x: softmax_local_rows(x, torch.arange(1), lambda part: part, 0.5, unit=True), rows(1, 4)
        ),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_default_device(sys.argv[1])
    assert os.environ["CLGNN_PAIRS"] == "triton"
    assert fused.fused(torch.zeros(3, 3))
    print(json.dumps(everything()))  # noqa: T201
