"""Multi-layer heads that sit on an encoder during training: the projector and the predictor."""

from __future__ import annotations

from torch import nn
from torch_geometric.nn.resolver import activation_resolver

from cl_as_gnn.encoders.batch_norm import BatchNorm1d
from cl_as_gnn.errors import ConfigError


def mlp_head(
    in_dim: int, hidden_dim: int, out_dim: int, num_layers: int, last_bn: bool = False, last_affine: bool = True
) -> nn.Sequential:
    """MLP ``(n, in_dim) -> (n, out_dim)``: ``num_layers`` linear maps, ``relu(BN(W x))`` at every one but the last.

    The last map is ``W x + b``, or ``BN(W x)`` with ``last_bn``; ``last_affine=False`` leaves out its scale and
    shift, as in SimSiam's projector. ``num_layers=0`` returns the input. Linear maps before a BN have no bias.
    """
    if num_layers == 0:
        return nn.Sequential()
    sizes = {"in_dim": in_dim, "hidden_dim": hidden_dim, "out_dim": out_dim, "num_layers": num_layers}
    for name, value in sizes.items():
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(in_dim, hidden_dim, bias=False), BatchNorm1d(hidden_dim), nn.ReLU(inplace=True)]
        in_dim = hidden_dim
    layers.append(nn.Linear(in_dim, out_dim, bias=not last_bn))
    if last_bn:
        layers.append(BatchNorm1d(out_dim, affine=last_affine))
    return nn.Sequential(*layers)


def plain_head(in_dim: int, hidden_dim: int, out_dim: int, num_layers: int, act: str) -> nn.Sequential:
    """MLP ``(n, in_dim) -> (n, out_dim)`` of ``num_layers`` linear maps with activations between: GRACE's projector."""
    widths = [in_dim, *[hidden_dim] * (num_layers - 1), out_dim][: num_layers + 1]
    layers: list[nn.Module] = []
    for i, width in enumerate(widths[1:]):
        layers += [activation_resolver(act)] if i else []
        layers.append(nn.Linear(widths[i], width))
    return nn.Sequential(*layers)
