import pytest
import torch
from torch_geometric.data import HeteroData

from cl_as_gnn.graph import augmentation_edges, view_graph
from cl_as_gnn.graph.schema import AFFINITY, AUGMENTATION


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
        (torch.ones(4, 2), {"num_views": 2, "sample": torch.arange(3)}, "each of 2 samples, got 3"),
        (torch.ones(4, 2), {"num_views": 2, "affinity_k": 4}, "expects 1 <= k <= 3"),
    ],
)
def test_errors_name_the_value(x, kwargs, message):
    with pytest.raises(ValueError, match=message):
        view_graph(x, **kwargs)
