import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import augmentation_edges, view_graph
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION
from cl_as_gnn.nn.operators import Adjacency


@pytest.mark.parametrize("views", [2, 3, 5])
def test_nodes_are_view_major_and_edges_join_views_of_one_sample(views):
    size = 4
    x = torch.randn(views * size, 3, requires_grad=True)
    data = view_graph(x, views, sample=torch.tensor([10, 3, 7, 5]))
    assert isinstance(data, HeteroData)
    assert data.num_views == views
    assert data["view"].sample.tolist() == [10, 3, 7, 5] * views
    assert data["view"].view.tolist() == [v for v in range(views) for _ in range(size)]
    assert data["view"].x is x
    edges = {tuple(e) for e in data[AUGMENTATION].edge_index.t().tolist()}
    expected = {(a, b) for a in range(views * size) for b in range(views * size) if a != b and a % size == b % size}
    assert edges == expected
    assert data[AUGMENTATION].edge_index.size(1) == len(expected), "no edge twice"
    assert data.validate(raise_on_error=True)


def test_one_view_has_no_augmentation_edges():
    assert augmentation_edges(3, 1, torch.device("cpu")).shape == (2, 0)


def test_affinity_edges_hold_cosine_similarities():
    torch.manual_seed(0)
    x = torch.randn(10, 4)
    data = view_graph(x, 2, affinity_k=3)
    source, target = data[AFFINITY].edge_index
    cosine = torch.nn.functional.cosine_similarity(x[source], x[target])
    torch.testing.assert_close(data[AFFINITY].edge_weight, cosine)
    assert torch.bincount(target).tolist() == [3] * 10


@pytest.mark.parametrize(
    ("x", "kwargs", "message"),
    [
        (torch.ones(5, 2), {"num_views": 2}, "divide the 5 rows of x, got 2"),
        (torch.ones(4), {"num_views": 2}, r"shape \(n, d\), got \(4,\)"),
        (
            torch.ones(4, 2),
            {"num_views": 2, "sample": torch.arange(3)},
            r"sample as integers of shape \(2,\), the index of each sample",
        ),
        (torch.ones(4, 2), {"num_views": 2, "affinity_k": 4}, "affinity_k as a whole number from 1 to 3, got 4"),
    ],
)
def test_errors_name_the_value(x, kwargs, message):
    with pytest.raises(ValueError, match=message):
        view_graph(x, **kwargs)


def test_edges_belong_to_the_caller_and_share_their_order():
    cpu = torch.device("cpu")
    expected = augmentation_edges(7, 2, cpu).clone()
    first, second = augmentation_edges(7, 2, cpu), augmentation_edges(7, 2, cpu)
    order = Adjacency(first, num_nodes=14).csr
    assert all(a is b for a, b in zip(order, Adjacency(second, num_nodes=14).csr, strict=True))
    view_graph(torch.randn(14, 3), 2)["view", "augmentation", "view"].edge_index.add_(1)
    first.zero_()
    assert torch.equal(second, expected)
    assert torch.equal(augmentation_edges(7, 2, cpu), expected)
    assert Adjacency(first, num_nodes=14).csr[1].eq(0).all(), "a change in place is seen"
    assert torch.equal(Adjacency(second, num_nodes=14).csr[1], order[1])


@pytest.mark.parametrize("first", ["inference mode", "export", "fake tensors"])
def test_edges_first_made_elsewhere_serve_training(first):
    size = {"inference mode": 11, "export": 13, "fake tensors": 17}[first]

    def step(x):
        edges = view_graph(x, 2)["view", "augmentation", "view"].edge_index
        return Adjacency(edges, num_nodes=x.size(0)).matmul(x).square().sum()

    class Step(torch.nn.Module):
        def forward(self, x):
            return step(x)

    x = torch.randn(2 * size, 3)
    for _ in range(2):
        if first == "inference mode":
            with torch.inference_mode():
                step(x)
        elif first == "export":
            torch.export.export(Step(), (x,), strict=False)
        else:
            with FakeTensorMode():
                augmentation_edges(size, 2, torch.device("cpu"))
        y = x.clone().requires_grad_()
        step(y).backward()
        torch.testing.assert_close(y.grad, 2 * x)
