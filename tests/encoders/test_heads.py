import pytest
import torch
from torch import nn

from cl_as_gnn.encoders import mlp_head
from cl_as_gnn.encoders.momentum import MomentumCopy


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("last_bn", [False, True])
def test_layers_and_shape(num_layers: int, last_bn: bool) -> None:
    head = mlp_head(12, 20, 7, num_layers, last_bn=last_bn)
    assert head(torch.randn(5, 12)).shape == (5, 7)
    linears = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert len(linears) == num_layers
    assert [layer.bias is None for layer in linears] == [True] * (num_layers - 1) + [last_bn]
    assert sum(isinstance(layer, nn.ReLU) for layer in head) == num_layers - 1
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in head) == num_layers - 1 + last_bn


def test_last_norm_without_affine_has_no_parameters_and_unit_output() -> None:
    head = mlp_head(12, 20, 7, 2, last_bn=True, last_affine=False)
    assert list(head[-1].parameters()) == []
    z = head(torch.randn(64, 12))
    torch.testing.assert_close(z.mean(0), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(7), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("last_bn", "last_affine"), [(False, True), (True, True), (True, False)])
def test_gradient_reaches_every_parameter(last_bn: bool, last_affine: bool) -> None:
    head = mlp_head(12, 20, 7, 3, last_bn=last_bn, last_affine=last_affine)
    head(torch.randn(16, 12)).pow(3).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("wrong", [(0, 8, 8, 2), (8, 0, 8, 2), (8, 8, 0, 2), (8, 8, 8, -1)])
def test_a_size_below_one_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"at least 1, got (0|-1)"):
        mlp_head(*wrong)


def test_a_momentum_copy_of_a_network_without_parameters():
    copy = MomentumCopy(nn.Identity())
    copy.update(nn.Identity(), 0.9)
    assert copy(torch.ones(2)).tolist() == [1, 1]
