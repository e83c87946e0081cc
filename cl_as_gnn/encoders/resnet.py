"""torchvision's ResNets as encoders."""

from __future__ import annotations

from typing import Literal

from cl_as_gnn.encoders.torchvision_models import TorchvisionConfig, TorchvisionEncoder


class ResNetConfig(TorchvisionConfig):
    name: Literal["resnet18", "resnet50"] = "resnet18"


class ResNetEncoder(TorchvisionEncoder):
    """torchvision's ResNet without its classifier: ``(n, C, H, W) -> (n, out_dim)``, 512 or 2048 wide.

    Images of at most 64 px get the CIFAR stem of SimCLR: a 3×3 first convolution of stride 1, and no max-pooling. A
    file of weights is taken to be of another run: only the published weights bring their mean and deviation.
    """

    Config = ResNetConfig
    summary = "torchvision's ResNet, with the 3×3 stem of SimCLR for images of up to 64 px"

    @classmethod
    def own_stats(cls, config: TorchvisionConfig) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        return super().own_stats(config) if config.weights == "pretrained" else None
