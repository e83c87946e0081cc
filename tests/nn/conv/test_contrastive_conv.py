import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.graph import augmentation_edges, knn_edges
from cl_as_gnn.nn import AlignmentConv, ContrastiveConv, UniformityConv
from cl_as_gnn.nn.functional import nt_xent

EDGES = augmentation_edges(6, 2, torch.device("cpu"))


def test_is_both_updates_at_once():
    x = torch.randn(12, 4, dtype=torch.double)
    out = ContrastiveConv(0.3, 0.2, num_hops=2)(x, EDGES)
    expected = AlignmentConv(0.2, 2)(x, EDGES) + UniformityConv(0.3, 0.2)(x) - x
    torch.testing.assert_close(out, expected)


def test_symmetric_form_is_a_gradient_step_on_nt_xent():
    """X' = X − (α n τ / 2) ∂L/∂X, with ∂L/∂X taken at unit rows without the projection that normalizing adds."""
    x = F.normalize(torch.randn(12, 4, dtype=torch.double), dim=1).requires_grad_()
    temperature, step = 0.3, 0.2
    logits = (x @ x.t() / temperature).masked_fill(torch.eye(12, dtype=torch.bool), float("-inf"))
    loss = F.cross_entropy(logits, torch.arange(12).roll(6))
    torch.testing.assert_close(nt_xent(x, EDGES, temperature).detach(), loss.detach())
    (grad,) = torch.autograd.grad(loss, x)
    out = ContrastiveConv(temperature, step, symmetric=True)(x, EDGES)
    torch.testing.assert_close(out, x - step * 12 * temperature / 2 * grad, atol=1e-10, rtol=0)


def test_affinity_edges_attract_unless_told_to_repel():
    x = torch.randn(12, 4, dtype=torch.double)
    affinity, _ = knn_edges(x, 3)
    attract = ContrastiveConv()(x, EDGES, affinity)
    expected = AlignmentConv()(x, torch.cat([EDGES, affinity], 1)) + UniformityConv(0.5)(x) - x
    torch.testing.assert_close(attract, expected)
    repel = ContrastiveConv(repel="affinity")(x, EDGES, affinity)
    torch.testing.assert_close(repel, AlignmentConv()(x, EDGES) + UniformityConv(0.5)(x, affinity) - x)


def test_batch_keeps_graphs_apart():
    x = torch.randn(8, 4, dtype=torch.double)
    edges = torch.tensor([[0, 1, 4, 5], [1, 0, 5, 4]])
    batch = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    for conv in (ContrastiveConv(), ContrastiveConv(symmetric=True)):
        apart = torch.cat([conv(x[:4], edges[:, :2]), conv(x[4:], edges[:, 2:] - 4)])
        torch.testing.assert_close(conv(x, edges, batch=batch), apart)


def test_repr_and_errors():
    assert (
        repr(ContrastiveConv())
        == "ContrastiveConv(temperature=0.5, step_size=0.5, num_hops=1, repel='complete', symmetric=False)"
    )
    with pytest.raises(ValueError, match="repel as one of 'complete', 'affinity', got 'knn'"):
        ContrastiveConv(repel="knn")
    with pytest.raises(ValueError, match="expects repel as 'complete'"):
        ContrastiveConv(repel="affinity", symmetric=True)
    with pytest.raises(ValueError, match="expects affinity_index as edges"):
        ContrastiveConv(repel="affinity")(torch.randn(12, 4), EDGES)
