"""Runs on images: each is a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_as_gnn.config import DataConfig, RunConfig
from cl_as_gnn.datasets import DATASETS, BatchedViews, ImageData, ImageDataset, channel_stats, evenly, load_images
from cl_as_gnn.encoders import ENCODERS, Encoder, Inputs, build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import linear_probe
from cl_as_gnn.methods import Method
from cl_as_gnn.tasks.base import Features, Scores, Task, geometry_scores, knn_and_few_labels
from cl_as_gnn.tasks.embed import embed

_GEOMETRY_IMAGES = 2048
# Raw pixels of larger images are scored at this side.
_RAW_SIDE = 32


def scored_data(config: RunConfig, progress: bool = True) -> ImageData:
    """The images of a run: ``test`` is the scored split, ``train`` serves training and as reference.

    Raises:
        ConfigError: the data are graphs, cannot be read, or lack the split that ``eval.split`` names.
    """
    if not isinstance(config.data, DataConfig):
        raise ConfigError(f"data.name={config.data.name} is a graph, and this command looks at images")
    data = load_images(config.data, progress)
    if config.eval.split == "test":
        return data.pooled()
    if not len(data.validation):
        raise ConfigError("eval.split=validation expects validation images: set data.validation, for example to 0.1")
    return replace(data, validation=data.validation.take(torch.arange(0)), test=data.validation)


class ImageTask(Task):
    """A run on images, scored on ``data.test`` with ``data.train`` as reference."""

    kind, unit = "images", "img"

    def __init__(self, config: RunConfig, data: ImageData):
        super().__init__(config)
        self.data, self.name, self.size = data, data.name, len(data.train)
        self.labels, self.y = data.train.labels, data.train.labels
        if isinstance(data.train.images, Tensor):
            self.inputs, self.aspect = data.train.images, data.train.aspect
        else:
            self.read = data.train.read
        stats = ENCODERS[config.encoder.name].own_stats(config.encoder)
        self.stats = stats if stats and len(stats[0]) == data.channels else channel_stats(data.train)
        self.known = (self.y >= 0).nonzero().view(-1)
        self.reference = len(self.known)
        self.watched = self.known[evenly(config.eval.online_size, len(self.known))]

    def views(self) -> nn.Module:
        assert isinstance(self.config.data, DataConfig)
        source = DATASETS[self.config.data.name]
        assert issubclass(source, ImageDataset)
        return BatchedViews(
            self.config.data.augment or source.augment, self.data.image_size, self.data.channels, *self.stats
        )

    def encoder(self) -> Encoder:
        return build_encoder(self.config.encoder, Inputs(self.data.channels, self.data.image_size))

    def header(self) -> dict[str, Any]:
        return {
            "encoder": self.config.encoder.model_dump(mode="json"),
            "channels": self.data.channels,
            "image_size": self.data.image_size,
            "mean": list(self.stats[0]),
            "std": list(self.stats[1]),
        }

    def names(self) -> dict[str, Any]:
        out: dict[str, Any] = {"classes": self.data.classes}
        for name in ("train", "validation", "test"):
            split = getattr(self.data, name)
            if len(split.files):
                out[f"{name}_files"] = [split.files[i] for i in split.readable().tolist()]
        return out

    def notes(self) -> tuple[str, ...]:
        return self.data.notes

    def broken(self) -> list[str]:
        return sorted({*self.data.broken, *(f"{name}: {why}" for name, why in self.data.train.broken().items())})

    def watch(self, encoder: nn.Module, device: torch.device, index: Tensor) -> Tensor:
        side = self.data.image_size
        batches = (self.data.train.squares(part, side) for part in index.split(512))
        return embed(encoder, batches, self.stats, device)

    def features(self, encoder: nn.Module, device: torch.device) -> Features:
        out = {}
        for name in ("train", "validation", "test"):
            split = getattr(self.data, name)
            if len(split):
                x = embed(encoder, split.batches(self.data.image_size), self.stats, device)
                at = split.readable()
                out[name], out[f"{name}_labels"] = x[at], split.labels[at]
        return out

    def _score(self, features: Features) -> Scores:
        known = features["train_labels"] >= 0
        train, y = features["train"][known], features["train_labels"][known]
        test, truth = features["test"], features["test_labels"]
        near = knn_and_few_labels(train, y, test, truth, self.config.eval)
        return {**near, "linear_top1": linear_probe(train, y, test, truth, max_iter=1000)}

    @torch.no_grad()
    def geometry(self, method: Method[Any], views: nn.Module, features: Features, device: torch.device) -> Scores:
        assert isinstance(views, BatchedViews)
        generator = torch.Generator(device=device).manual_seed(0)
        parts = []
        for index in evenly(_GEOMETRY_IMAGES, self.size).split(256):
            images, aspect = self.data.train.read(index)
            aspect = None if aspect is None else aspect.to(device)
            drawn = views(images.to(device), 2, generator, aspect)
            parts.append(method.project(drawn).float().cpu().unflatten(0, (2, -1)))
        rows = evenly(_GEOMETRY_IMAGES, len(features["test"]))
        return geometry_scores(torch.cat(parts, dim=1), features["test"][rows], features["test_labels"][rows])

    def _floors(self) -> dict[str, Scores]:
        """Raw pixels as features, ``(n, C·H·W)`` from 0 to 1, at most ``_RAW_SIDE`` px wide."""
        splits = {"train": self.data.train, "test": self.data.test}
        pixels = {name: _raw_pixels(split.batches(self.data.image_size)) for name, split in splits.items()}
        pixels |= {f"{name}_labels": split.labels for name, split in splits.items()}
        return {"raw pixels": self.score(pixels)}

    def protocol(self) -> str:
        config, data = self.config.eval, self.data
        k, more = min(config.knn_k, self.reference), self.size - len(self.known)
        return (
            f"frozen encoder in eval mode, no augmentation, features before the projector; scored on the "
            f"{len(data.test):,} images of the {config.split} split with the {len(self.known):,} training images as "
            f"bank and labels"
            + f"; trained on {more:,} more without labels"
            * (more > 0)
            + f"; knn: weighted, cosine, k={k}, T={config.knn_temperature:g}; linear: logistic "
            f"regression on standardized features, C=1; labelN: logistic regression on unit features, N labels per "
            f"class, C=10, mean of {config.draws} draws"
            + f"; raw pixels: averaged to {_RAW_SIDE} × {_RAW_SIDE} px"
            * (data.image_size > _RAW_SIDE)
        )


def _raw_pixels(batches: Iterable[Tensor]) -> Tensor:
    parts = (part.float() / 255 for part in batches)
    return torch.cat([(F.adaptive_avg_pool2d(x, _RAW_SIDE) if x.size(-1) > _RAW_SIDE else x).flatten(1) for x in parts])
