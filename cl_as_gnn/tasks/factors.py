"""Runs on frames with known factors: what of them can be read from the features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import ImageData, Split
from cl_as_gnn.datasets.factors import FactorData, FactorsConfig, FactorViews
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import linear_probe, regression_error
from cl_as_gnn.tasks.base import Features, Scores
from cl_as_gnn.tasks.images import ImageTask


class FactorTask(ImageTask):
    """A run on frames of digits over photographs, scored by the factors that a linear map reads from the features."""

    data: FactorData

    def __init__(self, config: RunConfig, data: FactorData, transfer: ImageData | None = None):
        if config.eval.root is not None:
            raise ConfigError(f"eval.root={config.eval.root}: data.name=factors is scored on its own frames, drop it")
        if config.generator is not None:
            raise ConfigError(
                f"data.generator={config.generator}: the views of data.name=factors are painted, not cut from images, "
                "drop it"
            )
        super().__init__(config, data, transfer=transfer)
        self.inputs = self.aspect = None  # views are painted anew, not cut from the frames

    def views(self) -> FactorViews:
        return self._painter("train")

    def _painter(self, split: str) -> FactorViews:
        assert isinstance(self.config.data, FactorsConfig)
        return FactorViews(self.data.layers[split], self.data.frames[split], self.config.data.share, *self.stats)

    def _two_views(
        self, views: nn.Module, device: torch.device, encode: Callable[[Tensor], Tensor], split: Split
    ) -> Tensor:
        painter = self._painter("train" if split is self.data.train else self.config.eval.split).to(device)
        generator = torch.Generator(device=device).manual_seed(0)
        index = self.looked_at(len(split)).to(device)
        parts = [encode(painter(part, 2, generator)).float().cpu().unflatten(0, (2, -1)) for part in index.split(256)]
        return torch.cat(parts, dim=1)

    def _score(self, features: Features) -> Scores:
        known, asked = self.data.targets("train"), self.data.targets(self.config.eval.split)
        train, test = features["train"], features["test"]
        scores = super()._score(features)  # of the digits, which are the labels
        background = linear_probe(train, known["background"], test, asked["background"], max_iter=1000)
        return {
            **scores,
            "digit_error": 100 - scores["linear_top1"],
            "background_error": 100 - background,
            "position_error": regression_error(train, known["position"], test, asked["position"]),
        }

    def fingerprint(self) -> None:
        """None: what the frames show is scored besides their labels."""

    def protocol(self) -> str:
        return (
            super().protocol() + "; digit and background: error of the linear probe, position: mean distance in px of "
            "a ridge regression"
        )
