import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.transforms import Compose

from cl_as_gnn.graph import MaskFeatures, NearestPositives
from cl_as_gnn.nn.functional import nt_xent

# On a circle at these angles: 0 and 1 are close, 2 is nearest to 1, 3 to 2.
ANGLES = torch.tensor([0.0, 0.1, 0.4, 1.0])
X = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)


def test_the_nearest_others_first_and_anchors_second():
    data = NearestPositives()(Data(x=X))
    assert data.positive_index.tolist() == [[1, 0, 1, 2], [0, 1, 2, 3]]
    assert nt_xent(data.x, data.positive_index).isfinite()
    two = NearestPositives(k=2)(Data(x=X)).positive_index
    assert two[:, two[1] == 3].tolist() == [[2, 1], [3, 3]]


def test_mutual_keeps_pairs_that_chose_each_other():
    assert NearestPositives(mutual=True)(Data(x=X)).positive_index.tolist() == [[1, 0], [0, 1]]


def test_stays_in_the_graphs_of_a_batch_and_leaves_the_edges_alone():
    graph = Data(x=X, edge_index=torch.tensor([[0], [3]]))
    batch = NearestPositives()(Batch.from_data_list([graph, graph]))
    assert batch.positive_index.tolist() == [[1, 0, 1, 2, 5, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6, 7]]
    assert batch.edge_index.tolist() == [[0, 4], [3, 7]]
    assert "positive_index" not in graph


def test_hetero_data_gets_edges_for_a_layer_and_compose_takes_it():
    data = HeteroData()
    data["item"].x = X
    out = Compose([MaskFeatures(0.0), NearestPositives(node_type="item")])(data)
    assert out["item", "nearest", "item"].edge_index.tolist() == [[1, 0, 1, 2], [0, 1, 2, 3]]


def test_repr_and_errors():
    assert repr(NearestPositives(3)) == "NearestPositives(k=3, mutual=False)"
    with pytest.raises(ValueError, match="k as a whole number >= 1, got 0"):
        NearestPositives(0)
    with pytest.raises(ValueError, match=r"expects data\.x"):
        NearestPositives()(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2))
