import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.nn.pool import MIPSKNNIndex

from cl_as_gnn.graph import knn, knn_edges
from cl_as_gnn.graph.knn import _choose, _found, nearest, search, top_products


def brute_force(x, k):
    """Similarities of the k nearest others, by sorting the full matrix."""
    unit = F.normalize(x, dim=1)
    similarity = (unit @ unit.t()).fill_diagonal_(-2)
    return similarity.sort(dim=1, descending=True).values[:, :k], similarity


@pytest.mark.parametrize("backend", ["faiss", "torch", "auto"])
@settings(max_examples=15, deadline=None)
@given(n=st.integers(3, 60), seed=st.integers(0, 10**6), data=st.data())
def test_exact_against_brute_force(backend, n, seed, data):
    k = data.draw(st.integers(1, n - 1))
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
    edge_index, similarity = knn_edges(x, k, backend)
    best, full = brute_force(x, k)
    source, target = edge_index
    assert target.tolist() == [i for i in range(n) for _ in range(k)]
    assert (source != target).all()
    torch.testing.assert_close(similarity.view(n, k), best, atol=1e-5, rtol=0)
    torch.testing.assert_close(full[target, source], similarity, atol=1e-5, rtol=0)
    assert all(len(set(row.tolist())) == k for row in source.view(n, k)), "no neighbour twice"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (70, 70), (333, 5), (1000, 15)])
@pytest.mark.parametrize("ties", [False, True])
def test_top_products_are_those_of_a_full_sort(n, k, dtype, ties):
    x = torch.randn(n, 6, dtype=dtype, generator=torch.Generator().manual_seed(n))
    x = x.round() if ties else x  # small whole numbers: products are exact and often equal
    full = x @ x.t()
    parts = list(top_products(x, x, k, 64))
    products, index = (torch.cat(part) for part in zip(*parts, strict=True))
    assert products.dtype == dtype
    torch.testing.assert_close(products, full.sort(1, descending=True).values[:, :k], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(full.gather(1, index), products, rtol=1e-6, atol=1e-6)
    assert all(len(set(row)) == k for row in index.tolist()), "no key twice, no key from the padding"
    if n > k:
        other = torch.cat([index for _, index in top_products(x, x, k, 64, others=True)])
        assert not (other == torch.arange(n).unsqueeze(1)).any()
        best = full.fill_diagonal_(-torch.inf).sort(1, descending=True).values[:, :k]
        torch.testing.assert_close(full.gather(1, other), best, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lower", [False, True])
def test_products_stay_exact_where_others_may_be_less(lower):
    x = F.normalize(torch.randn(300, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if lower else before)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            products, index = (torch.cat(part) for part in zip(*top_products(x, x, 5, 64), strict=True))
    finally:
        torch.set_float32_matmul_precision(before)
    exact = (x.double() @ x.double().t()).sort(1, descending=True)
    torch.testing.assert_close(products.double(), exact.values[:, :5], atol=1e-6, rtol=0)
    assert torch.equal(index, exact.indices[:, :5])


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_duplicates_do_not_bring_self_matches(backend):
    x = torch.ones(8, 3)
    edge_index, similarity = knn_edges(x, 3, backend)
    assert (edge_index[0] != edge_index[1]).all()
    torch.testing.assert_close(similarity, torch.ones(24))


def test_agrees_with_the_index_of_pyg():
    torch.manual_seed(0)
    x = F.normalize(torch.randn(50, 6), dim=1)
    found = MIPSKNNIndex(emb=x).search(x, k=4)
    similarity, index = search(x, x, 4, "faiss")
    torch.testing.assert_close(found.score, similarity)
    assert torch.equal(found.index, index)


def test_backends_agree_under_autocast():
    torch.manual_seed(0)
    x = torch.randn(200, 16)
    expected = nearest(x, 5, "torch")[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest(x, 5, "torch")[1], expected)
        assert torch.equal(nearest(x, 5, "faiss")[1], expected)


def test_rows_that_faiss_does_not_find_on_a_gpu_are_not_looked_up():
    similarity, index = _found(torch.tensor([[0.5, -3e38]]), torch.tensor([[4, -1]]))
    assert index.tolist() == [[4, 0]]
    assert similarity.isnan().tolist() == [[False, True]]


def test_a_gpu_searches_few_rows_without_faiss(monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert _choose("auto", gpu, 8192**2) == "torch"
    assert _choose("auto", gpu, 8192**2 + 1) == _choose("faiss", gpu, 1) == "faiss"
    assert _choose("auto", cpu, 512**2) == _choose("faiss", cpu, 2048**2) == "faiss"
    assert _choose("auto", cpu, 512**2 + 1) == _choose("auto", torch.device("mps"), 1) == "torch"


def test_auto_without_faiss_falls_back(monkeypatch):
    monkeypatch.setattr(knn, "_has_faiss", lambda: False)
    assert _choose("auto", torch.device("cpu"), 1) == "torch"
    with pytest.raises(ValueError, match="pip install faiss-cpu"):
        knn_edges(torch.randn(5, 2), 1, "faiss")


@pytest.mark.parametrize(
    ("x", "k", "backend", "message"),
    [
        (torch.randn(5, 2), 5, "auto", "expects k as a whole number from 1 to 4, got 5"),
        (torch.randn(5, 2), 0, "auto", "expects k as a whole number from 1 to 4, got 0"),
        (torch.randn(5, 2), 2, "annoy", "one of 'auto', 'faiss', 'torch', got 'annoy'"),
        (torch.tensor([[1.0, float("nan")], [1.0, 0.0], [0.0, 1.0]]), 1, "auto", "NaN"),
    ],
)
def test_errors_name_the_value(x, k, backend, message):
    with pytest.raises(ValueError, match=message):
        knn_edges(x, k, backend)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu():
    torch.manual_seed(0)
    x = torch.randn(500, 16)
    expected, _ = knn_edges(x, 5)
    found, _ = knn_edges(x.cuda(), 5)
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1e-30, 1e30])
def test_rows_of_any_length_have_neighbors(length, dtype):
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    expected, similarity = knn_edges(x, 3)
    scale = torch.full((20, 1), length, dtype=dtype)
    scale[::2] = 1
    if dtype == torch.float64:
        scale = scale**5  # beyond float32
    edges, found = knn_edges(x * scale, 3)
    assert torch.equal(edges, expected)
    torch.testing.assert_close(found, similarity)


def test_complex_features_are_one_line():
    with pytest.raises(ValueError, match=r"knn_edges expects x as dense real features of shape \(n, d\)"):
        knn_edges(torch.randn(5, 3, dtype=torch.complex64), 2)
