import math

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData

from cl_as_gnn.evaluation import dirichlet_energy, edge_purity, effective_rank, graph_mismatch
from cl_as_gnn.graph import knn_edges, view_agreement, view_graph
from cl_as_gnn.training.module import QUANTITIES, Minibatch

LABELS = torch.tensor([0, 1, 0, 1, 2, 2, 0, 1, 2])


def graph(views=3) -> HeteroData:
    x = torch.randn(views * 9, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    return view_graph(2 * x, views)


def test_quantities_are_those_of_the_augmentation_graph():
    data = graph()
    minibatch = Minibatch.of(data, LABELS)
    assert not minibatch.x.requires_grad
    x, edges = F.normalize(data["view"].x.detach(), dim=1), data["view", "augmentation", "view"].edge_index
    mean = F.normalize(x.view(3, 9, 4).mean(0), dim=1)
    expected = (
        dirichlet_energy(x, edges),
        effective_rank(x),
        float(x.double().std(0, correction=0).mean()) * x.size(1) ** 0.5,
        graph_mismatch(x, edges, temperature=0.2),
        edge_purity(knn_edges(mean, 5)[0], LABELS),
        float(view_agreement(x, 3, 5)),
    )
    assert minibatch.quantities(0.2) == pytest.approx(dict(zip(QUANTITIES, expected, strict=True)))


def test_purity_is_that_of_the_edges_the_method_attracts_along():
    data = graph()
    edges = data["sample", "affinity", "sample"]
    edges.edge_index = torch.tensor([[0, 1, 2, 3, 4], [2, 2, 0, 4, 5]])
    edges.edge_weight = torch.tensor([0.75, 0.25, 1.0, 1.0, 1.0])
    assert Minibatch.of(data, LABELS).purity().item() == pytest.approx(2.75 / 4)
    unknown = LABELS.clone()
    unknown[3] = unknown[1] = -1
    assert Minibatch.of(data, unknown).purity().item() == pytest.approx(1)


def test_what_is_not_defined_has_no_value():
    lone = Minibatch.of(view_graph(torch.randn(2, 4), 2), torch.tensor([3]))
    assert lone.quantities(0.5)["graph_purity"] is None
    assert lone.quantities(0.5)["graph_rank"] > 0
    assert math.isnan(Minibatch(torch.randn(9, 4), 1, LABELS, None).agreement())  # one view agrees with no other
    unlabelled = Minibatch.of(graph(), torch.full((9,), -1))
    assert math.isnan(unlabelled.purity())
    zeros = Minibatch(torch.zeros(4, 2), 2, torch.tensor([0, 1]), None)
    assert zeros.quantities(0.5) == dict.fromkeys(QUANTITIES)
