"""Layers, losses and transforms on what PyG's ``NeighborLoader`` yields."""

from types import SimpleNamespace

import pytest
import torch
import torch_geometric.typing
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GraphSAGE
from torch_geometric.utils import index_sort

from cl_as_gnn.graph import TwoViews
from cl_as_gnn.nn import AlignmentConv, HardestPositiveConv, UniformityConv
from cl_as_gnn.nn.functional import nt_xent


def all_neighbours(colptr, row, seed, num_neighbors, *_):
    """pyg-lib's sampler where every neighbour is taken: nodes and edges hop by hop, seeds first, each node once."""
    assert set(num_neighbors) == {-1}
    node, frontier, sizes = seed.tolist(), seed.tolist(), [len(seed)]
    sources, targets, edges, met = [], [], [], []
    for _hop in num_neighbors:
        known = len(node)
        for target in frontier:
            for edge in range(int(colptr[target]), int(colptr[target + 1])):
                if int(row[edge]) not in node:
                    node.append(int(row[edge]))
                sources.append(node.index(int(row[edge])))
                targets.append(node.index(target))
                edges.append(edge)
        frontier = node[known:]
        sizes.append(len(frontier))
        met.append(len(edges) - sum(met))
    return (*(torch.tensor(part) for part in (sources, targets, node, edges)), sizes, met)


@pytest.fixture(autouse=True)
def sampler(monkeypatch):
    """PyG's loader is the real one; its compiled operator, which no index of packages has, is written out above."""
    if torch_geometric.typing.WITH_PYG_LIB:
        return
    monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", True)
    monkeypatch.setattr(torch.ops, "pyg", SimpleNamespace(neighbor_sample=all_neighbours), raising=False)


@pytest.fixture
def data():
    club = KarateClub()[0]
    torch.manual_seed(0)
    # The order of the loader's own edges, so that its batches name them by their positions.
    _, order = index_sort(club.edge_index[1])
    return Data(x=torch.randn(34, 8), edge_index=club.edge_index[:, order], edge_weight=torch.rand(club.num_edges))


@pytest.mark.parametrize(
    ("layer", "weighted"),
    [
        (AlignmentConv(0.4, num_hops=2, normalize=False), True),
        (HardestPositiveConv(), False),
        (UniformityConv(), False),
    ],
    ids=repr,
)
def test_the_seeds_get_what_the_whole_graph_gives_them(data, layer, weighted):
    def run(graph):
        return layer(graph.x, graph.edge_index, *([graph.edge_weight] if weighted else []))

    expected, seen = run(data), []
    for batch in NeighborLoader(data, [-1, -1], batch_size=8):
        torch.testing.assert_close(run(batch)[: batch.batch_size], expected[batch.input_id])
        seen += batch.input_id.tolist()
    assert sorted(seen) == list(range(34))


def test_a_model_that_trims_what_its_deeper_layers_do_not_need(data):
    model = GraphSAGE(8, 16, 2, 4, norm="ContraNorm")
    for batch in NeighborLoader(data, [-1, -1], batch_size=2):
        per_hop = {
            "num_sampled_nodes_per_hop": batch.num_sampled_nodes,
            "num_sampled_edges_per_hop": batch.num_sampled_edges,
        }
        whole, trimmed = (model(batch.x, batch.edge_index, **given) for given in ({}, per_hop))
        torch.testing.assert_close(trimmed[: batch.batch_size], whole[: batch.batch_size])


def test_a_step_of_grace_on_a_sampled_batch(data):
    model = GraphSAGE(8, 16, 2, 8, norm="ContraNorm")
    for views in NeighborLoader(data, [-1, -1], batch_size=8, transform=TwoViews(0.2, 0.2, batch=True)):
        nodes, seeds = views.num_nodes // 2, views.input_id.numel() // 2
        assert torch.equal(views.n_id[:nodes], views.n_id[nodes:])
        chosen = torch.cat([torch.arange(seeds), nodes + torch.arange(seeds)])
        pair = torch.arange(2 * seeds)
        model.zero_grad()
        z = model(views.x, views.edge_index, batch=views.batch)[chosen]
        loss = nt_xent(z, torch.stack([pair, pair.roll(seeds)]))
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        parts = views.to_data_list()
        assert [part.num_nodes for part in parts] == [nodes, nodes]
