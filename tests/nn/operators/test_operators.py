"""Sparse operators against the dense matrices they stand for."""

import pytest
import torch

from cl_as_gnn.nn import AlignmentConv
from cl_as_gnn.nn.functional import nt_xent
from cl_as_gnn.nn.operators import Adjacency, Diffusion, LiftToViews, Mixture
from cl_as_gnn.nn.operators.diffusion import _diagonal_of_power


def random_graph(n_source, n_target, edges, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.stack(
        [
            torch.randint(n_source, (edges,), generator=generator),
            torch.randint(n_target, (edges,), generator=generator),
        ]
    )
    weight = torch.rand(edges, dtype=torch.double, generator=generator)
    matrix = torch.zeros(n_target, n_source, dtype=torch.double)
    matrix.index_put_((edge_index[1], edge_index[0]), weight, accumulate=True)
    return edge_index, weight, matrix


def row_stochastic(n, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n, n, dtype=torch.double, generator=generator).fill_diagonal_(-1)
    target = torch.arange(n).repeat_interleave(k)
    source = scores.topk(k).indices.flatten()
    weight = torch.rand(n, k, dtype=torch.double, generator=generator)
    weight = (weight / weight.sum(1, keepdim=True)).flatten()
    matrix = torch.zeros(n, n, dtype=torch.double).index_put_((target, source), weight)
    return Adjacency(torch.stack([source, target]), weight, n), matrix


def test_bipartite_products_and_row_sums():
    edge_index, weight, matrix = random_graph(7, 5, 20)
    graph = Adjacency(edge_index, weight, (7, 5))
    x, y = torch.randn(7, 3, dtype=torch.double), torch.randn(5, 3, dtype=torch.double)
    torch.testing.assert_close(graph.matmul(x), matrix @ x)
    torch.testing.assert_close(graph.t_matmul(y), matrix.t() @ y)
    torch.testing.assert_close(graph.row_sum, matrix.sum(1))
    torch.testing.assert_close(graph.to_sparse(torch.double).to_dense(), matrix)
    torch.testing.assert_close(graph.to_dense(torch.double), matrix)


def test_gradients_to_features_and_weights():
    edge_index, weight, _ = random_graph(6, 6, 15)
    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: Adjacency(edge_index, w, 6).matmul(x), (x, weight))


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5, 8])
def test_diffusion_is_the_power_without_returns(hops):
    graph, matrix = row_stochastic(12, 3)
    power = torch.linalg.matrix_power(matrix, hops)
    power.fill_diagonal_(0)
    power /= power.sum(1, keepdim=True)
    x = torch.randn(12, 4, dtype=torch.double)
    walk = Diffusion(graph, hops)
    torch.testing.assert_close(walk.matmul(x), power @ x)
    torch.testing.assert_close(walk.t_matmul(x), power.t() @ x)
    torch.testing.assert_close(walk.row_sum, torch.ones(12, dtype=torch.double))


@pytest.mark.parametrize("hops", [2, 3, 4, 5, 8])
def test_the_dense_powers_of_a_gpu_have_the_diagonal_of_the_sparse_ones(hops):
    graph, matrix = row_stochastic(12, 3)
    expected = torch.linalg.matrix_power(matrix, hops).diagonal()
    torch.testing.assert_close(_diagonal_of_power(graph.to_dense(torch.double), hops), expected)
    torch.testing.assert_close(_diagonal_of_power(graph.to_dense(torch.double), hops, graph.matmul), expected)
    torch.testing.assert_close(_diagonal_of_power(graph.to_sparse(torch.double), hops), expected)


def test_a_row_whose_walks_all_return_keeps_no_weight():
    pair = Adjacency(torch.tensor([[1, 0], [0, 1]]), torch.ones(2, dtype=torch.double), 2)
    walk = Diffusion(pair, 2)
    assert walk.row_sum.tolist() == [0, 0]
    assert walk.matmul(torch.eye(2, dtype=torch.double)).abs().sum() == 0


def test_walks_that_end_in_nodes_without_edges_are_left_out():
    edge_index = torch.tensor([[1, 2, 3], [0, 0, 1]])
    weight = torch.tensor([0.5, 0.5, 1.0], dtype=torch.double)
    walk = Diffusion(Adjacency(edge_index, weight, 4), 2)
    expected = torch.zeros(4, 4, dtype=torch.double)
    expected[0, 3] = 1
    torch.testing.assert_close(walk.matmul(torch.eye(4, dtype=torch.double)), expected)
    assert walk.row_sum.tolist() == [1, 0, 0, 0]


def test_lifted_to_views():
    graph, matrix = row_stochastic(5, 2)
    full = torch.kron(torch.full((3, 3), 1 / 3, dtype=torch.double), matrix)
    x = torch.randn(15, 4, dtype=torch.double)
    lifted = LiftToViews(graph, 3)
    torch.testing.assert_close(lifted.matmul(x), full @ x)
    torch.testing.assert_close(lifted.t_matmul(x), full.t() @ x)
    torch.testing.assert_close(lifted.row_sum, full.sum(1))


def test_mixture_gives_the_first_what_the_second_lacks():
    first, a = row_stochastic(6, 2, seed=1)
    edge_index = torch.tensor([[1, 2], [0, 3]])
    b = torch.zeros(6, 6, dtype=torch.double)
    b[0, 1] = b[3, 2] = 1
    mixed = Mixture(first, Adjacency(edge_index, torch.ones(2, dtype=torch.double), 6), 0.8)
    full = torch.diag(1 - 0.8 * b.sum(1)) @ a + 0.8 * b
    x = torch.randn(6, 4, dtype=torch.double)
    torch.testing.assert_close(mixed.matmul(x), full @ x)
    torch.testing.assert_close(mixed.t_matmul(x), full.t() @ x)
    torch.testing.assert_close(mixed.row_sum, torch.ones(6, dtype=torch.double))


def test_errors():
    with pytest.raises(ValueError, match=r"Adjacency expects edge_index as integers of shape \(2, E\), got \(3, 4\)"):
        Adjacency(torch.zeros(3, 4, dtype=torch.long))
    graph, _ = row_stochastic(4, 2)
    with pytest.raises(ValueError, match="num_hops >= 1, got 0"):
        Diffusion(graph, 0)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        Mixture(graph, graph, 1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nodes_without_edges_and_features_without_columns(dtype):
    graph = Adjacency(torch.tensor([[4, 1, 0], [1, 1, 3]]), torch.tensor([2.0, 3.0, 5.0], dtype=dtype), (5, 4))
    x = torch.arange(10, dtype=dtype).view(5, 2)
    assert graph.matmul(x).tolist() == [[0, 0], [22, 27], [0, 0], [0, 5]]
    assert graph.t_matmul(graph.matmul(x)).tolist() == [[0, 25], [66, 81], [0, 0], [0, 0], [44, 54]]
    assert graph.matmul(x[:, :0]).shape == (4, 0)
    assert Adjacency(torch.zeros(2, 0, dtype=torch.long), num_nodes=5).matmul(x).tolist() == [[0, 0]] * 5


def test_what_inference_mode_made_is_not_kept_for_training():
    edge_index, x = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.randn(3, 2)
    with torch.inference_mode():
        nt_xent(x, edge_index)
    AlignmentConv()(x.requires_grad_(), edge_index).sum().backward()
    assert x.grad.abs().sum() > 0


def test_edges_are_sorted_once_until_they_change(monkeypatch):
    from cl_as_gnn.nn.operators import adjacency

    sorts = []
    sort = adjacency.index_sort
    monkeypatch.setattr(adjacency, "index_sort", lambda *args, **kw: sorts.append(1) or sort(*args, **kw))
    edge_index, weight, matrix = random_graph(6, 6, 15)
    x = torch.randn(6, 2, dtype=torch.double)
    for scale in (1, 2):
        graph = Adjacency(edge_index, scale * weight, 6)
        torch.testing.assert_close(graph.matmul(x), scale * matrix @ x)
        torch.testing.assert_close(graph.t_matmul(x), scale * matrix.t() @ x)
    assert len(sorts) == 2
    edge_index.copy_(edge_index.flip(0))
    torch.testing.assert_close(Adjacency(edge_index, weight, 6).matmul(x), matrix.t() @ x)
    assert len(sorts) == 3
    with torch.inference_mode():
        inferred = edge_index + 0
        torch.testing.assert_close(Adjacency(inferred, weight, 6).matmul(x), matrix.t() @ x)


@pytest.mark.parametrize(
    ("edges", "size", "message"),
    [
        ([[0, 1], [1, 4000]], 6, r"edge_index\[1\] to hold target nodes below 6, counted from 0, got 4000"),
        ([[0, -1], [1, 2]], 6, r"edge_index\[0\] to hold source nodes below 6, counted from 0, got -1"),
        ([[0, 3], [5, 1]], (4, 4), r"edge_index\[1\] to hold target nodes below 4, counted from 0, got 5"),
        ([[0, 1], [1, 0]], 0, "check num_nodes"),
    ],
)
def test_ends_that_are_no_node_are_one_line(edges, size, message):
    """Unchecked, the row pointer would be written past its end."""
    graph = Adjacency(torch.tensor(edges), None, size)
    for product in (graph.matmul, graph.t_matmul):
        with pytest.raises(ValueError, match=message):
            product(torch.randn(6, 2))
