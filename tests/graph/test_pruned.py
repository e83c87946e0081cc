"""Bounds lose no neighbor, whatever the data; they are used where they save work."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import knn, pruned
from cl_as_gnn.graph.knn import nearest, search, top_products
from cl_as_gnn.graph.largest import GROUP, largest

N, M, D, K = 2500, 300, 256, 10


def near_a_subspace(n, seed, rank=12, noise=0.05, dtype=torch.float32):
    """Rows of which few directions explain most."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(D, rank, generator=torch.Generator().manual_seed(7)))[0]
    inside = torch.randn(n, rank, generator=generator) @ directions.T
    return (inside + noise * torch.randn(n, D, generator=generator)).to(dtype)


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(pruned, "_LEAST_WORK", 0)


@pytest.fixture
def used(monkeypatch):
    """The bounds that searches have used, or None."""
    found = []

    def find(*arguments):
        found.append(pruned.find_bounds(*arguments))
        return found[-1]

    monkeypatch.setattr(knn, "find_bounds", find)
    return found


@pytest.fixture
def looks(monkeypatch):
    """Shapes of the strips whose largest bounds were taken."""
    shapes = []
    monkeypatch.setattr(pruned, "largest", lambda strip, k: (shapes.append((len(strip), k)), largest(strip, k))[1])
    return shapes


def check(key, query, k=K, others=False):
    """Search, and compare with a full sort of the products in float64."""
    products, index = (torch.cat(part) for part in zip(*top_products(key, query, k, 128, others=others), strict=True))
    full = query.double() @ key.double().T
    if others:
        full.fill_diagonal_(-torch.inf)
    scale = query.norm(dim=1, keepdim=True).double() * key.norm(dim=1).max()
    tolerance = 2e-6 if key.dtype == torch.float32 else 1e-14
    best = full.sort(1, descending=True).values[:, :k]
    assert ((products - best).abs() <= tolerance * scale).all()
    assert ((full.gather(1, index) - products).abs() <= tolerance * scale).all()
    assert all(len(set(row)) == k for row in index.tolist()), "no key twice"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("others", [False, True])
def test_bounds_find_the_largest_products(used, dtype, others):
    key = F.normalize(near_a_subspace(N, 0, dtype=dtype), dim=1)
    check(key, key if others else F.normalize(near_a_subspace(M, 1, dtype=dtype), dim=1), others=others)
    assert [bounds.key.dtype for bounds in used] == [dtype]
    assert used[0].key.shape == (N, used[0].query.size(1))
    assert used[0].candidates < N // 32


def test_rows_of_any_length_zeros_and_duplicates(used):
    key, query = near_a_subspace(N, 0), near_a_subspace(M, 1)
    key *= torch.logspace(-3, 3, N)[torch.randperm(N, generator=torch.Generator().manual_seed(0))].unsqueeze(1)
    key[:40], key[50:70], query[:3], query[3:6] = key[40], 0, 0, key[40]
    check(key, query)
    assert used[0] is not None


def test_no_product_is_above_its_bound():
    """Also of rows whose parts outside the leading directions are equal, where the bound is the product."""
    outside = F.normalize(torch.randn(500, D, generator=torch.Generator().manual_seed(2)), dim=1)
    key, query = (near_a_subspace(n, seed, noise=0) + outside[torch.arange(n) % 500] for n, seed in ((N, 0), (M, 1)))
    key, query = F.normalize(key, dim=1), F.normalize(query, dim=1)
    bounds = pruned.find_bounds(key, query, K)
    room = bounds.query @ bounds.key.T + bounds.slack.unsqueeze(1) - (query.double() @ key.double().T)
    assert 0 <= room.min() < 1e-3


@pytest.mark.parametrize("others", [False, True])
def test_queries_that_bounds_do_not_serve_look_at_all_keys(used, looks, others):
    key = near_a_subspace(N, 0)
    query = key if others else near_a_subspace(M, 1)
    astray = torch.tensor([5, 200, 299])  # none of the queries that are tried
    query[astray] = torch.randn(3, D, generator=torch.Generator().manual_seed(2))
    key = F.normalize(key, dim=1)
    check(key, key if others else F.normalize(query, dim=1), others=others)
    candidates = used[0].candidates
    assert looks[0] == (128, candidates)
    again = sum(rows for rows, k in looks if k == 4 * candidates)
    assert 3 <= again < len(query) / 2


def test_a_query_that_looks_at_all_keys_leaves_itself_out(looks, monkeypatch):
    key = near_a_subspace(N, 0)
    key[:, 0] += 20
    key[290, 0] = -20  # all its products are negative: a key that counts as 0 would be found

    def find(*arguments):
        bounds = pruned.find_bounds(*arguments)
        slack = torch.zeros(N)
        slack[290] = torch.inf  # with such rounding no bound is low enough
        return replace(bounds, slack=slack, candidates=N // 33)

    monkeypatch.setattr(knn, "find_bounds", find)
    key = F.normalize(key, dim=1)
    check(key, key, others=True)
    assert looks[:4] == [(128, N // 33), (128, N // 33), (128, N // 33), (1, 4 * (N // 33))]


@pytest.mark.parametrize(
    ("key", "query", "k"),
    [
        (torch.randn(N, D, generator=torch.Generator().manual_seed(0)), near_a_subspace(M, 1), K),
        (near_a_subspace(N, 0)[:, :64].contiguous(), near_a_subspace(M, 1)[:, :64].contiguous(), K),
        (near_a_subspace(N, 0) * 1e20, near_a_subspace(M, 1), K),
        (near_a_subspace(N, 0) * 1e-20, near_a_subspace(M, 1), K),
        (near_a_subspace(N, 0), near_a_subspace(M, 1), 100),
        (near_a_subspace(N, 0), near_a_subspace(20, 1), K),
    ],
    ids=["no subspace", "narrow", "long", "short", "large k", "few queries"],
)
def test_where_bounds_save_nothing_all_products_are_made(key, query, k):
    assert pruned.find_bounds(key, query, k) is None


def test_little_work_needs_no_bounds(monkeypatch):
    monkeypatch.setattr(pruned, "_LEAST_WORK", N * M * D + 1)
    assert pruned.find_bounds(near_a_subspace(N, 0), near_a_subspace(M, 1), K) is None


def test_the_search_does_not_touch_the_random_numbers():
    before = torch.get_rng_state()
    found = [search(near_a_subspace(N, 0), near_a_subspace(M, 1), K, "torch") for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_nearest_agrees_with_faiss(used):
    x = near_a_subspace(N, 0)
    similarity, index = nearest(x, K, "torch")
    assert used[0] is not None
    expected, at = nearest(x, K, "faiss")
    torch.testing.assert_close(similarity, expected, atol=2e-6, rtol=0)
    assert (index == at).double().mean() > 0.999


@pytest.mark.parametrize("threads", [1, 99])
@pytest.mark.parametrize(("columns", "k"), [(GROUP, 1), (3200, 7), (3200, 99), (6400, 199)])
def test_largest_are_those_of_a_sort(monkeypatch, columns, k, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = torch.randn(5, columns, generator=torch.Generator().manual_seed(columns + k))
    found, index = largest(x, k)
    assert torch.equal(found.sort(1, descending=True).values, x.sort(1, descending=True).values[:, :k])
    assert torch.equal(x.gather(1, index), found)
