"""Runs on images: each is a sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cl_as_gnn.config import DataConfig, RunConfig
from cl_as_gnn.datasets import RECIPES, BatchedViews, ImageData, channel_stats, load_images
from cl_as_gnn.encoders import build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import leave_one_out_knn
from cl_as_gnn.methods import Method
from cl_as_gnn.tasks.embed import embed
from cl_as_gnn.tasks.protocol import describe, geometry, pixels, score


def scored_data(config: RunConfig, progress: bool = True) -> ImageData:
    """The images of a run: ``test`` is the split that is scored, ``train`` what may be trained on for it."""
    if not isinstance(config.data, DataConfig):
        raise ConfigError(f"data.name={config.data.name} is a graph, and this command looks at images")
    data = load_images(config.data, progress)
    if config.eval.split == "test":
        return data.pooled()
    if not len(data.validation):
        raise ConfigError("eval.split=validation expects validation images: set data.validation, for example to 0.1")
    return ImageData(data.name, data.classes, data.train, data.validation.take(torch.arange(0)), data.validation)


class ImageTask:
    """A run on images; see :class:`cl_as_gnn.tasks.base.Task`."""

    kind, unit = "images", "img"

    def __init__(self, config: RunConfig, data: ImageData):
        self.config, self.data = config, data
        self.name, self.size = data.name, len(data.train)
        self.labels: Tensor | None = data.train.labels
        self.inputs: Tensor | None = data.train.images
        self.stats = channel_stats(data.train)
        index = torch.linspace(0, self.size - 1, min(config.eval.online_size, self.size)).long()
        # Evenly spread over the data set, which may be sorted by class.
        self._watched = data.train.take(index)

    def views(self) -> nn.Module:
        assert isinstance(self.config.data, DataConfig)
        recipe = self.config.data.augment or RECIPES[self.config.data.name]
        return BatchedViews(recipe, self.data.image_size, self.data.channels, *self.stats)

    def encoder(self) -> nn.Module:
        encoder = self.config.encoder
        return build_encoder(encoder.name, self.data.channels, self.data.image_size, encoder.width)

    def header(self) -> dict[str, Any]:
        return {
            "name": self.config.encoder.name,
            "width": self.config.encoder.width,
            "channels": self.data.channels,
            "image_size": self.data.image_size,
            "mean": list(self.stats[0]),
            "std": list(self.stats[1]),
        }

    def online(self, encoder: nn.Module, device: torch.device) -> float | None:
        features = embed(encoder, self._watched.images, self.stats, device)
        k = min(self.config.eval.knn_k, len(features) - 1)
        return leave_one_out_knn(features, self._watched.labels, k, self.config.eval.knn_temperature)

    def features(self, encoder: nn.Module, device: torch.device) -> dict[str, Tensor]:
        out = {}
        for name in ("train", "validation", "test"):
            split = getattr(self.data, name)
            if len(split):
                out[name] = embed(encoder, split.images, self.stats, device)
                out[f"{name}_labels"] = split.labels
        return out

    def score(self, features: dict[str, Tensor]) -> dict[str, Any]:
        return {**score(features["train"], features["test"], self.data, self.config.eval)}

    def geometry(
        self, method: Method[Any], views: nn.Module, features: dict[str, Tensor], device: torch.device
    ) -> dict[str, Any]:
        assert isinstance(views, BatchedViews)
        return {**geometry(method.project, views, features["test"], self.data, device)}

    def baselines(self, device: torch.device) -> dict[str, dict[str, Any]]:
        torch.manual_seed(self.config.seed)
        fresh = self.encoder().to(device)
        train, test = pixels(self.data.train), pixels(self.data.test)
        return {
            "untrained encoder": self.score(self.features(fresh, device)),
            "raw pixels": self.score({"train": train, "test": test}),
        }

    def protocol(self) -> str:
        return describe(self.config.eval, self.data)
