import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.nn import GCN, Sequential
from torch_geometric.utils import to_torch_csr_tensor

from cl_as_gnn.nn import AlignmentConv


def graph(n=7, edges=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(n, (2, edges), generator=generator)
    edge_index = torch.unique(torch.cat([edge_index, edge_index.flip(0)], 1), dim=1)
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    return edge_index, torch.randn(n, 4, dtype=torch.double, generator=generator)


def normalized(edge_index, n, weight=None):
    a = torch.zeros(n, n, dtype=torch.double)
    values = torch.ones(edge_index.size(1), dtype=torch.double) if weight is None else weight
    a.index_put_((edge_index[1], edge_index[0]), values, accumulate=True)
    root = a.sum(1).clamp(min=1e-300).rsqrt() * (a.sum(1) > 0)
    return root[:, None] * a * root[None]


@pytest.mark.parametrize("hops", [1, 3])
def test_equals_the_formula(hops):
    edge_index, x = graph()
    out = AlignmentConv(0.3, hops)(x, edge_index)
    expected = 0.7 * x + 0.3 * torch.linalg.matrix_power(normalized(edge_index, 7), hops) @ x
    alone = torch.bincount(edge_index[1], minlength=7) == 0
    expected[alone] = x[alone]
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


def test_is_a_gradient_step_on_the_dirichlet_energy():
    edge_index, x = graph(edges=30)
    x.requires_grad_()
    energy = 0.5 * torch.trace(x.t() @ (torch.eye(7, dtype=torch.double) - normalized(edge_index, 7)) @ x)
    (grad,) = torch.autograd.grad(energy, x)
    torch.testing.assert_close(AlignmentConv(0.3)(x, edge_index), x - 0.3 * grad, atol=1e-10, rtol=0)


def test_every_edge_type_gives_the_same():
    edge_index, x = graph()
    conv, x = AlignmentConv(), x.float()
    out = conv(x, edge_index)
    torch.testing.assert_close(conv(x, EdgeIndex(edge_index, sparse_size=(7, 7))), out)
    torch.testing.assert_close(conv(x, to_torch_csr_tensor(edge_index, size=(7, 7)).t()), out)
    torch.testing.assert_close(conv(x, edge_index[:, torch.randperm(edge_index.size(1))]), out)


def test_directed_edges_flow_from_row_zero_to_row_one():
    x = torch.eye(3)
    out = AlignmentConv(1.0, normalize=False)(x, torch.tensor([[0], [2]]))
    torch.testing.assert_close(out, torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]]))
    sparse = torch.sparse_coo_tensor(torch.tensor([[2], [0]]), torch.ones(1), (3, 3)).coalesce()
    torch.testing.assert_close(AlignmentConv(1.0, normalize=False)(x, sparse), out)


def test_bipartite_and_weights():
    x_src, x_dst = torch.randn(4, 3), torch.randn(2, 3)
    edge_index, weight = torch.tensor([[0, 1, 3], [0, 0, 1]]), torch.tensor([1.0, 3.0, 2.0])
    out = AlignmentConv(0.5, normalize=False)((x_src, x_dst), edge_index, weight)
    pulled = torch.stack([x_src[0] + 3 * x_src[1], 2 * x_src[3]])
    torch.testing.assert_close(out, 0.5 * x_dst + 0.5 * pulled)
    with pytest.raises(ValueError, match="num_hops as 1 for a bipartite graph, got"):
        AlignmentConv(num_hops=2)((x_src, x_dst), edge_index)


def test_fast_path_equals_message_passing():
    """With a hook PyG's own propagate runs, message by message."""
    edge_index, x = graph()
    weight = torch.rand(edge_index.size(1), dtype=torch.double)
    conv = AlignmentConv(0.4, 2)
    fast = conv(x, edge_index, weight)
    seen = []
    conv.register_message_forward_hook(lambda module, inputs, out: seen.append(out.size(0)))
    torch.testing.assert_close(conv(x, edge_index, weight), fast)
    assert seen == [edge_index.size(1)] * 2


def test_gradients():
    edge_index, x = graph(n=5, edges=6)
    weight = torch.rand(edge_index.size(1), dtype=torch.double).add_(0.1).requires_grad_()
    conv = AlignmentConv(0.4, 2)
    assert torch.autograd.gradcheck(lambda x, w: conv(x, edge_index, w), (x.requires_grad_(), weight))


def test_permutation_equivariance():
    edge_index, x = graph()
    order = torch.randperm(7)
    inverse = torch.argsort(order)
    moved = AlignmentConv(0.3, 2)(x[order], inverse[edge_index])
    torch.testing.assert_close(moved, AlignmentConv(0.3, 2)(x, edge_index)[order])


def test_in_a_sequential_and_repr():
    edge_index, x = graph()
    conv = AlignmentConv(0.5, 2)
    assert repr(conv) == "AlignmentConv(step_size=0.5, num_hops=2, normalize=True)"
    model = Sequential("x, edge_index", [(conv, "x, edge_index -> x"), torch.nn.Linear(4, 2)])
    assert model(x.float(), edge_index).shape == (7, 2)
    assert GCN(4, 8, 2)(model[0](x.float(), edge_index), edge_index).shape == (7, 8)
    with pytest.raises(ValueError, match="num_hops as a whole number >= 1, got 0"):
        AlignmentConv(num_hops=0)


def test_weights_that_cancel_are_weights_all_the_same():
    x = torch.tensor([[1.0], [3.0], [10.0]])
    edges, weight = torch.tensor([[0, 1], [2, 2]]), torch.tensor([1.0, -1.0])
    out = AlignmentConv(1.0, normalize=False)(x, edges, weight)
    assert out.tolist() == [[1.0], [3.0], [-2.0]]


def test_the_outermost_nodes_of_a_sampled_subgraph_have_their_say():
    """They have no edges of their own: weights follow what leaves a source, as between two sets of nodes."""
    x, edges = torch.randn(4, 3), torch.tensor([[1, 2, 3], [0, 0, 1]])
    out = AlignmentConv(1.0)(x, edges)
    torch.testing.assert_close(out[0], (x[1] + x[2]) / 2**0.5)
    torch.testing.assert_close(
        out, torch.where(torch.tensor([[1], [1], [0], [0]]) > 0, AlignmentConv(1.0)((x, x), edges), x)
    )


def test_a_subclass_and_hooks_see_single_messages():
    class Halved(AlignmentConv):
        def message(self, x_j, edge_weight):
            return 0.5 * super().message(x_j, edge_weight)

    edge_index, x = graph()
    whole = AlignmentConv(1.0).gather(x, edge_index)
    torch.testing.assert_close(Halved(1.0).gather(x, edge_index), whole / 2)
    for hook in ("message_forward_pre", "aggregate_forward_pre", "aggregate_forward", "propagate_forward_pre"):
        seen = []
        conv = AlignmentConv(1.0)
        getattr(conv, f"register_{hook}_hook")(lambda *arguments, seen=seen: seen.append(1))
        torch.testing.assert_close(conv.gather(x, edge_index), whole)
        assert seen, hook
