"""torchvision's ResNets as encoders."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.base import Encoder, Inputs, image_side
from cl_as_gnn.encoders.batch_norm import BatchNorm2d

_RESNETS = {"resnet18": resnet18, "resnet50": resnet50}


class ResNetConfig(EncoderConfig):
    name: Literal["resnet18", "resnet50"] = "resnet18"


def fit_stem(net: Any, in_channels: int, image_size: int) -> None:
    """Give a ResNet a stem for its images, in place: that of SimCLR for CIFAR up to 64 px."""
    width: int = net.bn1.num_features
    if image_size <= 64:
        net.conv1 = nn.Conv2d(in_channels, width, 3, stride=1, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")


class ResNetEncoder(Encoder):
    """torchvision's ResNet without its classifier: ``(n, C, H, W) -> (n, out_dim)``, 512 or 2048 wide.

    Images of at most 64 px get the CIFAR stem of SimCLR: a 3×3 first convolution of stride 1, and no max-pooling.
    """

    Config = ResNetConfig
    summary = "torchvision's ResNet, with the 3×3 stem of SimCLR for images of up to 64 px"

    @classmethod
    def build(cls, config: ResNetConfig, inputs: Inputs) -> ResNetEncoder:
        return cls(config.name, inputs.channels, image_side(inputs)).to(memory_format=torch.channels_last)

    def __init__(self, name: str, in_channels: int, image_size: int) -> None:
        super().__init__()
        net = _RESNETS[name](norm_layer=BatchNorm2d)
        self.out_dim: int = net.fc.in_features
        net.fc = nn.Identity()
        fit_stem(net, in_channels, image_size)
        self.body = net

    @property
    def network(self) -> nn.Module:
        body: nn.Module = self.body
        return body

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x)
        return features
