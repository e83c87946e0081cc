"""The trained encoder of another run as a part of a method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cl_as_gnn.encoders.base import Inputs
from cl_as_gnn.encoders.momentum import MomentumCopy
from cl_as_gnn.encoders.split import build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import ENCODERS

Stats = tuple[Sequence[float], Sequence[float]]


class FrozenEncoder(nn.Module):
    """Features by position ``(n, c, h, w)`` of images, by the encoder of a finished run, without gradient.

    A checkpoint holds its settings beside its weights, which are buffers: it is restored without that run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copy: MomentumCopy | None = None
        self.settings: dict[str, Any] = {}

    def read(self, run: Path, stats: Stats, shape: Sequence[int]) -> None:
        """Read the encoder of a run, for images ``shape`` (C, S, S) that ``stats`` have normalized.

        Raises:
            ConfigError: the run has no encoder, or it expects other images.
        """
        try:
            with safe_open(str(run / "encoder.safetensors"), framework="pt") as file:
                header = json.loads(file.metadata()["cl_as_gnn"])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = {key: header[key] for key in ("encoder", "channels", "image_size", "mean", "std")}
            settings["stats"] = [list(part) for part in stats]
            self.set_extra_state(json.dumps(settings))
            assert self.copy is not None
            self.copy.module.load_state_dict(weights)
        except Exception as error:  # safetensors has its own type for a broken file
            raise ConfigError(
                f"method.run={run} has no encoder of images that can be read ({type(error).__name__}): name the folder "
                "of a finished run"
            ) from None
        if (own := [settings["channels"], settings["image_size"]]) != list(shape[:2]):
            raise ConfigError(
                f"method.run={run} reads images of {own[0]} channels and {own[1]} px, and these have {shape[0]} and "
                f"{shape[1]}: name a run on the same data"
            )

    def get_extra_state(self) -> str:
        """Return the settings, as a checkpoint holds them."""
        return json.dumps(self.settings)

    def set_extra_state(self, state: str) -> None:
        """Build the encoder of these settings, whose weights then follow."""
        self.settings = json.loads(state)
        if not self.settings:
            return
        section = self.settings["encoder"]
        config = ENCODERS[section["name"]].Config.model_validate(section)
        encoder = build_encoder(config, Inputs(self.settings["channels"], self.settings["image_size"]))
        self.copy = MomentumCopy(encoder).eval()
        parts = [*self.settings["stats"], self.settings["mean"], self.settings["std"]]
        self.stats = nn.Buffer(torch.tensor(parts).view(4, -1, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if self.copy is None:
            raise ConfigError("a tokenizer of features has no encoder yet: call method.prepare before training")
        mean, std, own_mean, own_std = self.stats.to(x.dtype)
        encoder: Any = self.copy.module
        out: Tensor = encoder.maps((x * std + mean - own_mean) / own_std)
        return out
