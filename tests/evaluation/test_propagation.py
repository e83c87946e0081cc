"""Labels along a graph, against the dense iteration and its limit."""

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import affinity_graph, few_label_probe, propagate, propagated_accuracy
from cl_as_gnn.evaluation.propagation import shares


def arcs(count, seed=0):
    """Two interleaved half circles in three dimensions, which no plane separates, as unit rows with their class."""
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    t = torch.rand(count, generator=source) * torch.pi
    x = torch.stack([t.cos() + y, (1 - 2 * y) * t.sin() + 0.5 * y, torch.full_like(t, 2.0)], 1)
    return x + 0.02 * torch.randn(count, 3, generator=source), y


def test_the_graph_is_that_of_its_formula():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    unit = F.normalize(x, dim=1)
    s = unit @ unit.T
    near = torch.zeros(30, 30)
    for i in range(30):
        near[i, s[i].masked_fill(torch.arange(30) == i, -2).topk(3).indices] = 1
    assert torch.allclose(affinity_graph(x, 3, 0.5).to_dense(), (near + near.T) * ((s - 1) / 0.5).exp(), atol=1e-5)


def test_labels_spread_as_the_dense_iteration_says_towards_its_limit():
    x, y = arcs(40)
    graph = affinity_graph(x, 5).double()
    given = F.one_hot(y, 2).double() * (torch.arange(40) < 6).unsqueeze(1)
    dense = graph.to_dense()
    scale = dense.sum(1).rsqrt()
    operator = scale.unsqueeze(1) * dense * scale
    wanted = given
    for _ in range(7):
        wanted = 0.8 * operator @ wanted + 0.2 * given
    assert torch.allclose(propagate(graph, given, 0.8, 7), wanted, atol=1e-12)
    limit = 0.2 * torch.linalg.solve(torch.eye(40).double() - 0.8 * operator, given)
    assert torch.allclose(propagate(graph, given, 0.8, 300), limit, atol=1e-12)


def test_the_order_of_rows_does_not_matter():
    x, y = arcs(50)
    given = F.one_hot(y, 2).float() * (torch.arange(50) < 4).unsqueeze(1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    moved = propagate(affinity_graph(x[order], 5), given[order])
    assert torch.allclose(moved, propagate(affinity_graph(x, 5), given)[order], atol=1e-6)


def test_what_no_label_reaches_is_zero():
    x = torch.cat([torch.eye(2)[:1].repeat(4, 1), torch.eye(2)[1:].repeat(4, 1)])
    given = torch.zeros(8, 2)
    given[0, 1] = 1
    spread = shares(propagate(affinity_graph(x, 2), given))
    assert spread[:4].sum(1).tolist() == [1] * 4
    assert spread[4:].abs().max() == 0


def test_a_label_follows_a_bent_class_that_no_plane_separates():
    x, y = arcs(300)
    test_x, test_y = arcs(100, seed=1)
    (one, _), (ten, spread) = propagated_accuracy(x, y, test_x, test_y, (1, 10), draws=5, k=10)
    assert one > 95
    assert ten > 97
    assert spread < 5
    assert few_label_probe(x, y, test_x, test_y, 1, draws=5)[0] < 85


def test_results_do_not_depend_on_what_is_asked_beside_them():
    x, y = arcs(80)
    both = propagated_accuracy(x, y, x, y, (1, 3), draws=3)
    assert both == [propagated_accuracy(x, y, x, y, (n,), draws=3)[0] for n in (1, 3)]
    assert propagated_accuracy(x, y + 5, x, y, (1,), draws=2) == [(0, 0)]


def test_mistakes_are_named():
    x, y = arcs(10)
    with pytest.raises(ConfigError, match="propagated_accuracy expects per_class at most 5, got 6: class 0"):
        propagated_accuracy(x, y, x, y, (6,))
    with pytest.raises(ConfigError, match=r"per_class\[1\] as a whole number >= 1, got 0"):
        propagated_accuracy(x, y, x, y, (1, 0))
    with pytest.raises(ValueError, match="two rows or more"):
        affinity_graph(x[:1])
    with pytest.raises(ValueError, match="NaN"):
        affinity_graph(x / 0)
