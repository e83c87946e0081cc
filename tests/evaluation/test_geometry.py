import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.utils import get_laplacian, to_dense_adj

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import (
    alignment,
    dirichlet_energy,
    edge_purity,
    effective_rank,
    feature_spread,
    graph_mismatch,
    shared_information,
    uniformity,
    view_agreement,
)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_laplacian(edge_index: Tensor, weight: Tensor, n: int) -> Tensor:
    a = torch.zeros(n, n, dtype=torch.float64)
    for (i, j), w in zip(edge_index.T.tolist(), weight.tolist(), strict=True):
        a[i, j] += w / 2
        a[j, i] += w / 2
    d = a.sum(dim=1)
    root = torch.where(d > 0, d.rsqrt(), 0.0)
    return torch.diag((d > 0).double()) - root[:, None] * a * root[None, :]


def test_alignment_matches_the_formula() -> None:
    x, y = normal(9, 4), normal(9, 4, seed=1)
    for alpha in (1.0, 2.0, 3.0):
        expected = sum(float((a / a.norm() - b / b.norm()).norm()) ** alpha for a, b in zip(x, y, strict=True)) / 9
        assert alignment(x, y, alpha) == pytest.approx(expected)


def test_alignment_extremes() -> None:
    x = normal(9, 4)
    assert alignment(x, 5 * x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4)
    assert alignment(x, -x, alpha=1) == pytest.approx(2)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_closed_forms(t: float) -> None:
    antipodal = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])
    assert uniformity(antipodal, t) == pytest.approx(-4 * t)
    assert uniformity(torch.ones(5, 3), t) == pytest.approx(0, abs=1e-5)
    assert uniformity(torch.eye(6), t) == pytest.approx(-2 * t)


def test_uniformity_matches_the_formula_and_survives_a_large_t() -> None:
    x = F.normalize(normal(23, 5), dim=1)
    for t in (2.0, 2000.0):
        pairs = torch.stack([-t * (x[i] - x[j]).square().sum() for i in range(23) for j in range(i + 1, 23)])
        expected = float(pairs.logsumexp(dim=0)) - math.log(len(pairs))
        assert uniformity(x, t) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(chunk=st.integers(1, 30), seed=st.integers(0, 1000))
def test_uniformity_ignores_chunk_and_order(chunk: int, seed: int) -> None:
    x = normal(23, 5)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(seed))
    assert uniformity(x[order], chunk=chunk) == pytest.approx(uniformity(x), rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 8), extra=st.integers(0, 10), scale=st.floats(1e-3, 1e3))
def test_effective_rank_of_orthonormal_columns_is_their_number(d: int, extra: int, scale: float) -> None:
    q = torch.linalg.qr(normal(d + extra, d, seed=d)).Q
    assert effective_rank(scale * q) == pytest.approx(d)


def test_effective_rank_known_spectra() -> None:
    assert effective_rank(torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 4))) == pytest.approx(1, abs=1e-4)
    p = [0.75, 0.25]
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(
        math.exp(-sum(q * math.log(q) for q in p))
    )


def test_effective_rank_centered_drops_a_common_offset() -> None:
    x = normal(200, 3)
    x = x - x.mean(dim=0)
    assert effective_rank(x + 1000, center=True) == pytest.approx(effective_rank(x))
    assert effective_rank(x + 1000) < 1.1 < effective_rank(x)


GRAPH = torch.tensor([[0, 1, 2, 3, 4, 0, 5, 2, 2], [1, 2, 3, 4, 0, 3, 5, 1, 1]])  # directed, repeats, a loop; 6 alone
WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0, 0.1, 1.0, 0.0, 4.0], dtype=torch.float64)


@pytest.mark.parametrize("weighted", [False, True])
def test_dirichlet_energy_is_the_dense_trace(weighted: bool) -> None:
    x = normal(7, 4)
    laplacian = dense_laplacian(GRAPH, WEIGHTS if weighted else torch.ones(9), 7)
    expected = float((x.T @ laplacian @ x).trace() / x.square().sum())
    assert dirichlet_energy(x, GRAPH, WEIGHTS if weighted else None) == pytest.approx(expected)


def test_dirichlet_energy_agrees_with_the_laplacian_of_pyg() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 3]])
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    x = normal(5, 3)
    index, value = get_laplacian(edges, normalization="sym", dtype=torch.float64)
    laplacian = to_dense_adj(index, edge_attr=value)[0]
    assert dirichlet_energy(x, edges) == pytest.approx(float((x.T @ laplacian @ x).trace() / x.square().sum()))


def test_dirichlet_energy_of_eigenvectors_is_the_eigenvalue() -> None:
    values, vectors = torch.linalg.eigh(dense_laplacian(GRAPH, WEIGHTS, 7))
    for value, vector in zip(values.tolist(), vectors.T, strict=True):
        assert dirichlet_energy(3 * vector[:, None], GRAPH, WEIGHTS) == pytest.approx(value, abs=1e-12)


def test_dirichlet_energy_of_a_bipartite_edge_is_two() -> None:
    assert dirichlet_energy(torch.tensor([[1.0], [-1.0]]), torch.tensor([[0], [1]])) == pytest.approx(2)
    assert dirichlet_energy(torch.ones(2, 1), torch.tensor([[0], [1]])) == 0
    assert dirichlet_energy(torch.ones(2, 1), torch.empty(2, 0, dtype=torch.long)) == 0


@settings(max_examples=25, deadline=None)
@given(chunk=st.integers(1, 12), seed=st.integers(0, 1000))
def test_graph_measures_ignore_chunk_edge_order_and_node_order(chunk: int, seed: int) -> None:
    x, labels = normal(7, 4), torch.tensor([0, 0, 1, 1, 0, 2, 2])
    g = torch.Generator().manual_seed(seed)
    nodes, edges = torch.randperm(7, generator=g), torch.randperm(9, generator=g)
    moved = nodes.argsort()[GRAPH[:, edges]]
    energy = dirichlet_energy(x[nodes], moved, WEIGHTS[edges], chunk=chunk)
    assert energy == pytest.approx(dirichlet_energy(x, GRAPH, WEIGHTS))
    assert edge_purity(moved, labels[nodes], WEIGHTS[edges]) == pytest.approx(edge_purity(GRAPH, labels, WEIGHTS))


def test_edge_purity_counts_weight() -> None:
    edges, labels = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 3]]), torch.tensor([5, 5, 8, 5])
    assert edge_purity(edges, labels) == pytest.approx(0.5)
    assert edge_purity(edges, labels, torch.tensor([1.0, 2.0, 4.0, 1.0])) == pytest.approx(0.25)


LABELS = torch.zeros(2, dtype=torch.long)
EDGE = torch.tensor([[0, 1], [1, 0]])
NAN = torch.tensor([[1.0, torch.nan], [0.0, 1.0]])
ONES = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "line"),
    [
        (
            lambda: alignment(NAN, ONES),
            ValueError,
            "alignment expects x as finite features, got NaN or infinity in 1 of 2 rows",
        ),
        (lambda: alignment(ONES, ONES[:1]), ValueError, "a positive for each row of x"),
        (lambda: alignment(ONES, ONES, alpha=0), ConfigError, "alpha as a positive number, got 0"),
        (lambda: uniformity(NAN), ValueError, "expects x as finite features, got NaN"),
        (lambda: uniformity(ONES[:1]), ValueError, "with two rows or more"),
        (lambda: uniformity(ONES, t=-1), ConfigError, "t as a positive number, got -1"),
        (lambda: uniformity(ONES, chunk=0), ConfigError, "chunk as a whole number >= 1, got 0"),
        (lambda: effective_rank(NAN), ValueError, "expects x as finite features, got NaN"),
        (lambda: effective_rank(0 * ONES), ValueError, "rows that are all zero"),
        (lambda: effective_rank(ONES, center=True), ValueError, "rows that are all equal"),
        (lambda: effective_rank(torch.ones(3)), ValueError, r"shape \(n, d\), got \(3,\)"),
        (lambda: dirichlet_energy(NAN, EDGE), ValueError, "expects x as finite features, got NaN"),
        (lambda: dirichlet_energy(0 * ONES, EDGE), ValueError, "row that is not zero, got zeros"),
        (lambda: dirichlet_energy(ONES, EDGE + 1), ValueError, "source nodes below 2, counted from 0, got 2"),
        (lambda: dirichlet_energy(ONES, EDGE - 1), ValueError, "counted from 0, got -1"),
        (lambda: dirichlet_energy(ONES, EDGE[0]), ValueError, r"edge_index as integers of shape \(2, E\)"),
        (
            lambda: dirichlet_energy(ONES, EDGE, torch.tensor([1.0, -1.0])),
            ValueError,
            "edge_weight as finite numbers >= 0, got -1",
        ),
        (lambda: dirichlet_energy(ONES, EDGE, torch.ones(3)), ValueError, "one real number for each of 2 edges"),
        (lambda: edge_purity(EDGE, LABELS[:, None]), ValueError, "one of each node"),
        (lambda: edge_purity(EDGE[:, :0], LABELS), ValueError, "undefined without edges"),
    ],
)
def test_errors_are_one_line_and_name_the_cure(call: Callable[[], float], error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loops", [False, True])
def test_mismatch_is_that_of_dense_matrices(loops):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    adjacency = (torch.rand(9, 9, generator=generator, dtype=torch.float64) > 0.6).double()
    adjacency = torch.maximum(adjacency, adjacency.t()).fill_diagonal_(0)
    adjacency[0] = adjacency[:, 0] = 0
    index = adjacency.nonzero().t()
    root = adjacency.sum(1).rsqrt().nan_to_num(posinf=0)
    affinity = x @ x.t() / 0.7
    if not loops:
        affinity.fill_diagonal_(-torch.inf)
    expected = (root[:, None] * adjacency * root @ x - affinity.softmax(1) @ x).norm() / x.norm()
    assert graph_mismatch(x, index, temperature=0.7, loops=loops) == pytest.approx(expected.item(), abs=1e-10)
    with pytest.raises(ValueError, match="row that is not zero, got zeros"):
        graph_mismatch(torch.zeros(3, 2), index[:, :0])


def test_effective_rank_is_rankme() -> None:
    """Garrido et al. 2023, equation 1, with its constant."""
    x = normal(50, 8)
    sigma = torch.linalg.svdvals(x)
    p = sigma / sigma.sum() + 1e-7
    assert effective_rank(x) == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-4)


def test_feature_spread_is_one_on_a_sphere_and_zero_in_a_point() -> None:
    assert feature_spread(normal(4000, 16)) == pytest.approx(1, abs=0.02)
    assert feature_spread(7 * normal(4000, 16)) == pytest.approx(feature_spread(normal(4000, 16)))
    assert feature_spread(torch.ones(9, 16) * torch.arange(1, 10)[:, None]) == pytest.approx(0, abs=1e-6)
    x = normal(30, 4)
    rows = torch.stack([row / row.norm() for row in x])
    expected = sum(float((rows[:, k] - rows[:, k].mean()).square().mean().sqrt()) for k in range(4)) / 4 * math.sqrt(4)
    assert feature_spread(x) == pytest.approx(expected)


def test_view_agreement_counts_nearest_views() -> None:
    x, y = normal(60, 5), normal(60, 5) + normal(60, 5, seed=1)
    expected = 0
    for i in range(60):
        cosines = [float(F.cosine_similarity(x[i], other, dim=0)) for other in y]
        expected += cosines[i] > max(c for j, c in enumerate(cosines) if j != i)
    assert 0 < expected < 60
    assert view_agreement(x, y) == view_agreement(3 * x, y, chunk=7) == pytest.approx(100 * expected / 60)
    assert view_agreement(x, x) == 100
    assert view_agreement(torch.ones(8, 4), torch.ones(8, 4)) == 0, "ties do not count"
    with pytest.raises(ValueError, match="a positive for each row of x"):
        view_agreement(x, y[:9])


def test_shared_information_is_the_tightest_bound() -> None:
    x = normal(40, 6)
    y = x + 0.5 * normal(40, 6, seed=1)
    bounds = []
    for tau in (10 ** (i / 8 - 2) for i in range(25)):
        total = 0.0
        order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
        for block in (order[:16], order[16:32]):  # the last 8 rows are no whole block
            s = F.normalize(x[block]) @ F.normalize(y[block]).T / tau
            target = torch.arange(16)
            total += float(F.cross_entropy(s, target) + F.cross_entropy(s.T, target)) / 4
        bounds.append(math.log(16) - total)
    assert 0 < bounds.index(max(bounds)) < 24
    assert shared_information(x, y, k=16) == (pytest.approx(max(bounds), abs=1e-12), math.log(16))


def test_shared_information_does_not_depend_on_an_order_by_class() -> None:
    y = torch.arange(2048) % 2
    x = 10 * torch.eye(2, 30)[y] + normal(2048, 30)
    seen = x + 2 * normal(2048, 30, seed=1)
    by_class = y.argsort(stable=True)
    value = shared_information(x, seen)[0]
    assert shared_information(x[by_class], seen[by_class])[0] == pytest.approx(value, abs=0.05)
    one = [shared_information(x[y == c], seen[y == c])[0] for c in (0, 1)]
    assert value > max(one) + 0.3


def test_shared_information_runs_from_nothing_to_its_ceiling() -> None:
    x = normal(300, 64)
    value, ceiling = shared_information(x, 3 * x)
    assert ceiling == math.log(256)
    assert value == pytest.approx(ceiling)
    assert shared_information(x, normal(300, 64, seed=1))[0] == pytest.approx(0, abs=0.05)
    assert shared_information(torch.ones(8, 4), torch.ones(8, 4)) == (pytest.approx(0), math.log(8))
    assert shared_information(x[:1], x[:1]) == (0, 0)
    with pytest.raises(ConfigError, match="k as a whole number >= 1, got 0"):
        shared_information(x, x, k=0)
