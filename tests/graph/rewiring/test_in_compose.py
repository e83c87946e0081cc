"""All transforms one after another, with PyG's own between them."""

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.datasets import KarateClub
from torch_geometric.transforms import GDC, Compose, NormalizeFeatures, ToUndirected

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
