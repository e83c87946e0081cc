import pytest
import torch
import torch.nn.functional as F
from torch_geometric import EdgeIndex
from torch_geometric.testing import assert_module

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn import HardestPositiveConv

EDGES = torch.tensor([[1, 2, 3, 0, 4, 4, 1], [0, 0, 0, 1, 1, 3, 3]])  # nodes 2, 4 and 5 receive nothing


def literal(source, target, edges, step, similarity):
    """The formula, node by node."""
    out = target.clone()
    for i in range(len(target)):
        best, worst = None, None
        for j in edges[0][edges[1] == i].tolist():
            cosine = F.cosine_similarity(target[i], source[j], dim=0)
            score = cosine if similarity == "cosine" else -(target[i] - source[j]).norm()
            if worst is None or score < worst:
                best, worst = j, score
        if best is not None:
            out[i] = target[i] + step * (source[best] - target[i])
    return out


@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_equals_the_formula(similarity):
    torch.manual_seed(0)
    x = torch.randn(6, 3, dtype=torch.double) * torch.tensor([[1, 9, 1, 1, 0.1, 1]]).t()
    out = HardestPositiveConv(0.3, similarity)(x, EDGES)
    torch.testing.assert_close(out, literal(x, x, EDGES, 0.3, similarity), atol=1e-12, rtol=0)
    torch.testing.assert_close(out[[2, 4, 5]], x[[2, 4, 5]], atol=0, rtol=0)


def test_several_views_go_to_the_least_similar_one():
    torch.manual_seed(1)
    x = F.normalize(torch.randn(20, 4, dtype=torch.double), dim=1)
    edges = augmentation_edges(5, 4, x.device)
    out = HardestPositiveConv(1.0)(x, edges)
    for i in range(20):
        views = [j for j in range(i % 5, 20, 5) if j != i]
        torch.testing.assert_close(out[i], x[views][(x[views] @ x[i]).argmin()])


def test_is_a_subgradient_step_on_the_largest_distance():
    torch.manual_seed(2)
    x = torch.randn(6, 3, dtype=torch.double)
    out = HardestPositiveConv(0.3, "distance")(x, EDGES)
    moving = x.clone().requires_grad_()
    for i in (0, 1, 3):
        energy = 0.5 * (moving[i] - x[EDGES[0][EDGES[1] == i]]).square().sum(1).max()
        (grad,) = torch.autograd.grad(energy, moving)
        torch.testing.assert_close(out[i], x[i] - 0.3 * grad[i], atol=1e-10, rtol=0)


def test_ties_and_repeated_edges_do_not_depend_on_the_order():
    x = torch.tensor([[1.0, 0], [0, 1], [0, -1], [0, 1]])
    edges = torch.tensor([[3, 2, 1, 1], [0, 0, 0, 0]])
    expected = torch.tensor([0.5, 0.5])
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        torch.testing.assert_close(HardestPositiveConv()(x, edges[:, order])[0], expected)


def test_every_edge_type_and_bipartite():
    torch.manual_seed(3)
    x = torch.randn(6, 3)
    assert_module(HardestPositiveConv(), x, EDGES, expected_size=(6, 3))
    torch.testing.assert_close(
        HardestPositiveConv()(x, EdgeIndex(EDGES, sparse_size=(6, 6))), HardestPositiveConv()(x, EDGES)
    )
    source, target = torch.randn(5, 3), torch.randn(6, 3)
    out = HardestPositiveConv(0.3)((source, target), EDGES)
    torch.testing.assert_close(out, literal(source, target, EDGES, 0.3, "cosine"))


def test_fast_path_equals_message_passing():
    torch.manual_seed(4)
    x = torch.randn(6, 3, dtype=torch.double)
    edges = torch.cat([EDGES, EDGES[:, :3]], dim=1)
    conv = HardestPositiveConv(0.4)
    fast = conv(x, edges)
    seen = []
    conv.register_message_forward_hook(lambda module, inputs, out: seen.append(out.size(0)))
    torch.testing.assert_close(conv(x, edges), fast)
    assert seen == [edges.size(1)]


def test_gradients_reach_the_node_and_its_hardest_positive():
    torch.manual_seed(5)
    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: HardestPositiveConv(0.4)(x, EDGES), (x,))


def test_the_targets_type_and_edges_out_of_range():
    layer, edges = HardestPositiveConv(), torch.tensor([[0, 2], [1, 0]])
    pair = (torch.randn(3, 2).bfloat16(), torch.randn(2, 2))
    assert layer(pair, edges).dtype == torch.float32
    assert layer(pair[::-1], edges.flip(0)).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"edge_index\[0\] to hold source nodes below 3, counted from 0, got -1"):
        layer(torch.randn(3, 2), edges - 1)


def test_half_precision_no_edges_repr_and_errors():
    x = torch.randn(6, 3, dtype=torch.bfloat16)
    assert HardestPositiveConv()(x, EDGES).dtype == torch.bfloat16
    torch.testing.assert_close(HardestPositiveConv()(x, EDGES[:, :0]), x)
    assert repr(HardestPositiveConv(0.1)) == "HardestPositiveConv(step_size=0.1, similarity='cosine')"
    with pytest.raises(ValueError, match="'cosine', 'distance', got 'dot'"):
        HardestPositiveConv(similarity="dot")
