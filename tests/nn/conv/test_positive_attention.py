import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn import PositiveAttention

EDGES = augmentation_edges(5, 3, torch.device("cpu"))


def test_softmax_over_each_anchors_positives():
    x = torch.randn(15, 4, dtype=torch.double)
    weight = PositiveAttention(2.0)(x, EDGES)
    for i in range(15):
        mine = EDGES[1] == i
        cosine = F.cosine_similarity(x[EDGES[0][mine]], x[i : i + 1])
        torch.testing.assert_close(weight[mine], (2 * cosine).softmax(0))


def test_batch_form_is_the_released_importance_weight():
    x = torch.randn(10, 4, dtype=torch.double)
    edges = augmentation_edges(5, 2, x.device)
    raw = torch.exp(1 + F.cosine_similarity(x[edges[0]], x[edges[1]]))
    torch.testing.assert_close(PositiveAttention(1.0, "batch")(x, edges), 10 * raw / raw.sum())


def test_sharpness_zero_is_the_mean_and_no_gradient_flows():
    x = torch.randn(15, 4, requires_grad=True)
    weight = PositiveAttention(0.0)(x, EDGES)
    torch.testing.assert_close(weight, torch.full((30,), 0.5))
    assert not weight.requires_grad


@pytest.mark.parametrize("shift", [-1, 1])
def test_edges_out_of_range(shift):
    with pytest.raises(ValueError, match="counted from 0"):
        PositiveAttention()(torch.randn(3, 2), torch.tensor([[0, 2], [1, 0]]) + shift)


def test_repr_and_errors():
    assert repr(PositiveAttention()) == "PositiveAttention(sharpness=1.0, normalize='anchor')"
    with pytest.raises(ValueError, match="'anchor', 'batch', got 'row'"):
        PositiveAttention(normalize="row")
