"""All transforms one after another, with PyG's own between them."""

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.datasets import KarateClub
from torch_geometric.transforms import (
    GDC,
    AddSelfLoops,
    Compose,
    NormalizeFeatures,
    RemoveIsolatedNodes,
    ToUndirected,
)

from cl_as_gnn.graph import DropEdges, DropNodes, FeatureKNN, MaskFeatures, NearestPositives, SameLabelEdges, TwoViews
from cl_as_gnn.nn import AlignmentConv


def test_ours_and_pygs_in_one_compose():
    torch.manual_seed(0)
    transform = Compose(
        [
            NormalizeFeatures(),
            FeatureKNN(k=3),
            ToUndirected(),
            SameLabelEdges(),
            NearestPositives(),
            DropEdges(0.2),
            MaskFeatures(0.2),
            TwoViews(batch=True),
        ]
    )
    club = KarateClub()[0]
    out = transform(club)
    assert isinstance(out, Batch)
    assert out.num_nodes == 68
    assert out.positive_index.max() > 33  # raised with the second view, as PyG does for every ..._index
    assert club.num_edges == 156  # the input is as it was


def test_diffusion_is_pygs_gdc():
    """GDC's weights are the diffusion that AlignmentConv then takes as they are; dropped edges lose theirs."""
    torch.manual_seed(0)
    gdc = GDC(
        self_loop_weight=1.0,
        normalization_in="sym",
        normalization_out=None,
        diffusion_kwargs={"method": "ppr", "alpha": 0.2},
        sparsification_kwargs={"method": "threshold", "eps": 0.0},
    )
    edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    data = Compose([gdc])(Data(x=torch.eye(4), edge_index=edges))
    a = torch.eye(4)
    a[edges[0], edges[1]] = 1
    root = a.sum(1).rsqrt()
    expected = 0.2 * torch.linalg.inv(torch.eye(4) - 0.8 * root[:, None] * a * root[None])
    out = AlignmentConv(1.0, normalize=False)(data.x, data.edge_index, data.edge_attr)
    torch.testing.assert_close(out, expected)
    dropped = Compose([gdc, DropEdges(0.5)])(Data(x=torch.eye(4), edge_index=edges))
    assert 0 < dropped.num_edges < data.num_edges
    assert dropped.edge_attr.numel() == dropped.num_edges


@pytest.mark.parametrize(
    "transform",
    [DropEdges(0.4), DropNodes(0.3), FeatureKNN(2), FeatureKNN(2, replace=True), NearestPositives(), MaskFeatures(0.2)],
    ids=repr,
)
def test_a_batch_is_still_made_of_its_graphs(transform):
    torch.manual_seed(0)
    graphs = [Data(x=torch.randn(n, 3), edge_index=torch.randint(0, n, (2, 9))) for n in (5, 1, 7)]
    new = transform(Batch.from_data_list(graphs))
    parts = new.to_data_list()
    assert sum(part.num_nodes for part in parts) == new.num_nodes == int(new.ptr[-1])
    assert sum(part.num_edges for part in parts) == new.num_edges
    assert all(int(part.edge_index.max()) < part.num_nodes for part in parts if part.num_edges)
    assert (new.batch[new.edge_index[0]] == new.batch[new.edge_index[1]]).all()
    if isinstance(transform, NearestPositives):
        assert [part.positive_index.size(1) for part in parts] == [5, 0, 7]


def test_two_views_of_a_batch_are_twice_its_graphs():
    graphs = [Data(x=torch.randn(n, 3), edge_index=torch.randint(0, n, (2, 9))) for n in (5, 2)]
    new = TwoViews(0.5, 0.0, batch=True)(Batch.from_data_list(graphs))
    assert (new.num_graphs, new.ptr.tolist()) == (4, [0, 5, 7, 12, 14])
    assert torch.equal(new.x[:7], new.x[7:])


def two_graphs():
    graphs = [
        Data(x=torch.randn(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.tensor([k])) for k in range(2)
    ]
    return Batch.from_data_list(graphs, follow_batch=["x"])


def pairs(index):
    return sorted(map(tuple, index.t().tolist()))


@pytest.mark.parametrize(
    "transform",
    [DropEdges(0.0), DropNodes(0.0), NearestPositives(), TwoViews(0.0, 0.0, batch=True), FeatureKNN(1)],
    ids=repr,
)
@pytest.mark.parametrize("before", [ToUndirected(), AddSelfLoops(), Compose([ToUndirected(), AddSelfLoops()])])
def test_a_batch_that_another_transform_has_changed(transform, before):
    changed = before(two_graphs())
    changed.z, changed.color = torch.arange(6), torch.tensor([7, 8])
    changed.weight_of_edge = torch.arange(changed.num_edges)
    if isinstance(transform, FeatureKNN):
        del changed.weight_of_edge
    new = transform(changed)
    single = before(two_graphs().to_data_list()[0])
    parts = new.to_data_list()
    for k, part in enumerate(parts):
        assert set(pairs(single.edge_index)) <= set(pairs(part.edge_index))
        assert part.z.tolist() == [3 * (k % 2) + i for i in range(3)]
        assert (part.y.item(), part.color.tolist()) == (k % 2, [7 + k % 2])
        if not isinstance(transform, FeatureKNN):
            ends = changed.edge_index[:, part.weight_of_edge] - 3 * (k % 2)
            assert torch.equal(ends, part.edge_index), "what belongs to an edge went with it"
    assert torch.equal(new.x_batch, new.batch)
    assert new.ptr.tolist() == new.x_ptr.tolist() == list(range(0, 3 * len(parts) + 1, 3))


def test_positives_in_a_batch_survive_what_is_dropped():
    torch.manual_seed(0)
    batch = Batch.from_data_list([Data(x=torch.randn(8, 3), edge_index=torch.randint(0, 8, (2, 20))) for _ in range(3)])
    batch.name = torch.arange(24)
    old = NearestPositives(1)(batch)
    new = DropNodes(0.4)(old)
    kept = set(new.name.tolist())
    expected = [pair for pair in pairs(old.positive_index) if kept.issuperset(pair)]
    assert pairs(new.name[new.positive_index]) == expected
    parts = new.to_data_list()
    assert sum(part.positive_index.size(1) for part in parts) == len(expected)
    assert all(int(part.positive_index.max()) < part.num_nodes for part in parts if part.positive_index.numel())
    across = SameLabelEdges(mask=None)(Batch.from_data_list([Data(x=torch.zeros(2, 1), y=torch.tensor([0, 1]))] * 2))
    across.edge_index = torch.tensor([[0, 2], [1, 3]])
    dropped = DropEdges(1.0)(across)
    assert torch.equal(dropped.positive_index, across.positive_index), "pairs between graphs are left as they are"


def test_a_batch_without_its_isolated_nodes():
    graphs = [Data(x=torch.arange(4.0).view(-1, 1), edge_index=torch.tensor([[1], [3]])) for _ in range(2)]
    new = DropEdges(0.0)(RemoveIsolatedNodes()(Batch.from_data_list(graphs)))
    assert new.ptr.tolist() == [0, 2, 4]
    assert all(part.x.view(-1).tolist() == [1, 3] and pairs(part.edge_index) == [(0, 1)] for part in new.to_data_list())


def test_a_batch_of_hetero_graphs_with_a_type_of_node_without_features():
    data = HeteroData()
    data["a"].x = torch.randn(5, 2)
    data["b"].num_nodes = 4
    data["a", "to", "b"].edge_index = torch.stack([torch.randint(0, 5, (30,)), torch.randint(0, 4, (30,))])
    data["a", "to", "b"].number = torch.arange(30)
    for transform in (DropEdges(0.5), DropNodes(0.2), TwoViews(0.5, 0.5, batch=True), FeatureKNN(2, node_type="a")):
        new = transform(Batch.from_data_list([data, data]))
        for part in new.to_data_list():
            edges = part["a", "to", "b"]
            assert edges.edge_index.size(1) == edges.number.numel() > 0
            if not isinstance(transform, DropNodes):
                assert part["b"].num_nodes == 4
                assert torch.equal(edges.edge_index, data["a", "to", "b"].edge_index[:, edges.number])
            assert int(edges.edge_index[1].max()) < part["b"].num_nodes


def test_labels_of_some_edges_go_with_them():
    data = Data(x=torch.randn(6, 2), edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]))
    data.edge_label_index, data.edge_label = torch.tensor([[0, 5, 1, 2], [1, 4, 3, 4]]), torch.arange(4)
    dropped = DropEdges(1.0)(data)
    assert torch.equal(dropped.edge_label, data.edge_label)
    assert torch.equal(dropped.edge_label_index, data.edge_label_index)
    torch.manual_seed(0)
    data.name = torch.arange(6)
    cut = DropNodes(0.3)(data)
    assert 0 < cut.edge_label.numel() < 4
    assert torch.equal(cut.name[cut.edge_label_index], data.edge_label_index[:, cut.edge_label])
    with pytest.raises(ValueError, match="got adj_t: put ToSparseTensor after it"):
        DropNodes(0.3)(Data(x=torch.randn(2, 1), adj_t=torch.eye(2).to_sparse_csr()))


def test_a_self_loop_is_one_edge_in_both_directions():
    data = Data(x=torch.randn(3, 1), edge_index=torch.tensor([[0, 1, 2], [1, 0, 2]]))
    data.edge_weight = torch.tensor([1.0, 1.0, 5.0])
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        new = DropEdges(0.5, force_undirected=True)(data)
        found = pairs(new.edge_index)
        assert found.count((2, 2)) <= 1
        assert found.count((0, 1)) == found.count((1, 0))
        assert ((new.edge_index[0] == 2) == (new.edge_weight == 5)).all()
        seen.add(tuple(found))
    assert len(seen) == 4


def test_views_without_features_to_mask():
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    first, second = TwoViews([0.0, 1.0], 0.0)(data)
    assert (first.num_edges, second.num_edges) == (2, 0)
    with pytest.raises(ValueError, match=r"data\.x to hold features, got none"):
        TwoViews(0.0, 0.5)(data)
