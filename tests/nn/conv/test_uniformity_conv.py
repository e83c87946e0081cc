import math

import pytest
import torch

from cl_as_gnn.nn import UniformityConv


def attention(x, temperature):
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)
    return logits.softmax(1)


def test_equals_the_formula_and_gradients():
    x = torch.randn(9, 3, dtype=torch.double, requires_grad=True)
    conv = UniformityConv(0.7, 0.4)
    torch.testing.assert_close(conv(x), 1.4 * x - 0.4 * attention(x, 0.7) @ x, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(conv, (x,))


def test_complete_graph_as_edges_gives_the_same():
    x = torch.randn(6, 3, dtype=torch.double)
    source, target = (1 - torch.eye(6)).nonzero().t()
    torch.testing.assert_close(UniformityConv()(x, torch.stack([source, target])), UniformityConv()(x))


def test_over_given_edges_and_gradients():
    x = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    edges = torch.tensor([[0, 1, 2, 4], [3, 3, 3, 0]])
    out = UniformityConv(0.5, 0.4)(x, edges)
    share = ((x[:3] @ x[3]) / 0.5).softmax(0)
    torch.testing.assert_close(out[3], 1.4 * x[3] - 0.4 * share @ x[:3])
    torch.testing.assert_close(out[0], 1.4 * x[0] - 0.4 * x[4])
    torch.testing.assert_close(out[1], x[1])
    assert torch.autograd.gradcheck(lambda x: UniformityConv(0.5, 0.4)(x, edges), (x,))


def test_batch_keeps_graphs_apart_and_a_lone_node_stays():
    x = torch.randn(8, 3, dtype=torch.double)
    batch = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    out = UniformityConv()(x, batch=batch)
    torch.testing.assert_close(out[:3], UniformityConv()(x[:3]))
    torch.testing.assert_close(out[3], x[3])
    torch.testing.assert_close(out[4:], UniformityConv()(x[4:]))


def test_bipartite():
    source, target = torch.randn(7, 3), torch.randn(2, 3)
    share = (target @ source.t()).softmax(1)
    torch.testing.assert_close(UniformityConv()((source, target)), 1.5 * target - 0.5 * share @ source)


def test_repr_and_errors():
    assert repr(UniformityConv(0.5, 0.1)) == "UniformityConv(temperature=0.5, step_size=0.1)"
    with pytest.raises(ValueError, match="temperature as a positive number, got -1"):
        UniformityConv(-1)


def test_graphs_may_have_any_number():
    """As in a part of a batch: three nodes of graph 9, one of graph 40."""
    x = torch.randn(4, 3)
    out = UniformityConv()(x, batch=torch.tensor([9, 40, 9, 9]))
    torch.testing.assert_close(out[[0, 2, 3]], UniformityConv()(x[[0, 2, 3]]))
    assert torch.equal(out[1], x[1])
    assert UniformityConv()(x[:0], batch=torch.empty(0, dtype=torch.long)).shape == (0, 3)
