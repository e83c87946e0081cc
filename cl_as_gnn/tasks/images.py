"""Runs on images: each is a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from cl_as_gnn.config import AugmentConfig, DataConfig, RunConfig
from cl_as_gnn.datasets import (
    DATASETS,
    BatchedViews,
    ImageData,
    ImageDataset,
    MultiCrop,
    Split,
    channel_stats,
    evenly,
)
from cl_as_gnn.datasets.images import at_once
from cl_as_gnn.datasets.multi_crop import local_size
from cl_as_gnn.datasets.recipes import Recipe, completed, recipe_of, told
from cl_as_gnn.datasets.shifts import shifted
from cl_as_gnn.datasets.shifts import told as told_shift
from cl_as_gnn.encoders import ENCODERS, Encoder, Inputs, build_encoder
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import LinearProbe, view_agreement
from cl_as_gnn.methods import METHODS, Method, Preview
from cl_as_gnn.tasks.base import Features, Scores, Task, geometry_scores, knn_and_few_labels, rank_of, spread_labels
from cl_as_gnn.tasks.embed import embed, kept_rows, rows
from cl_as_gnn.tasks.floors import RAW_SIDE, fingerprint, raw_pixels
from cl_as_gnn.tasks.image_data import check_size, in_channels
from cl_as_gnn.tasks.probing import known_rows, shift_scores, transfer_scores

_GEOMETRY_IMAGES = 2048
# What a method may see of a set at once: images, and numbers in them.
_PREVIEWED, _PREVIEWED_VALUES = 2048, 2**26


class ImageTask(Task):
    """A run on images, scored on ``data.test`` with ``data.train`` as reference.

    Attributes:
        scored: the images that kNN, linear and few-label scores are computed on, ``None`` without labels.
        shifts: names of the shifts of its test images; ``grey`` is none of gray images.

    Raises:
        ConfigError: fewer than two training images.
    """

    kind, unit = "images", "img"

    def __init__(
        self, config: RunConfig, data: ImageData, probed: ImageData | None = None, transfer: ImageData | None = None
    ):
        super().__init__(config)
        if len(data.train) < 2:
            count = "one image" if len(data.train) else "no images"
            raise ConfigError(f"data.name={data.name} has {count} to train on: images are compared, give at least two")
        self.recipe: Recipe | None = None
        self.data, self.probed, self.transfer = data, probed, transfer
        self.name, self.size = data.name, len(data.train)
        self.y = data.train.labels
        if isinstance(data.train.images, Tensor):
            self.inputs, self.aspect = data.train.images, data.train.aspect
        else:
            self.read = data.train.read
        self.known = (self.y >= 0).nonzero().view(-1)
        self.labels = self.y if len(self.known) else None
        if len(self.known) > 1:
            self.watched = self.known[evenly(config.eval.online_size, len(self.known))]
        self.scored = probed or (data if len(self.known) and len(data.test) else None)
        shifts = config.eval.shifts if self.scored else ()
        self.shifts = tuple(name for name in shifts if data.channels > 1 or name != "grey")
        # Without labels nothing is scored among neighbors.
        self.reference = int((self.scored.train.labels >= 0).sum()) if self.scored else config.eval.knn_k

    @cached_property
    def stats(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of each channel, which normalize the images."""
        stats = ENCODERS[self.config.encoder.name].own_stats(self.config.encoder)
        return stats if stats and len(stats[0]) == self.data.channels else channel_stats(self.data.train)

    def settle(self) -> RunConfig:
        data = self.config.data
        assert isinstance(data, DataConfig)
        unequal = METHODS[self.config.method.name].unequal_views
        self.recipe = recipe_of(self._source, self.data.image_size, unequal)
        if self.recipe is not None:
            augment = completed(self.recipe.augment, data.augment)
            data = data.model_copy(update={"augment": augment})
            self.config = self.config.model_copy(update={"data": data})
        return self.config

    @property
    def _source(self) -> type[ImageDataset]:
        source = DATASETS[self.config.data.name]
        assert issubclass(source, ImageDataset)
        return source

    @property
    def augment(self) -> AugmentConfig:
        """How views are drawn: as the config says, or else as the data set does."""
        assert isinstance(self.config.data, DataConfig)
        return self.config.data.augment or self._source.augment

    def views(self) -> nn.Module:
        kind = MultiCrop if self.augment.local_views else BatchedViews
        return kind(self.augment, self.data.image_size, self.data.channels, *self.stats)

    def order(self, generator: torch.Generator) -> Tensor:
        return self.data.train.order(generator)

    def encoder(self) -> Encoder:
        encoder = build_encoder(self.config.encoder, Inputs(self.data.channels, self.data.image_size))
        if self.augment.local_views:
            check_size(encoder, self.data.channels, local_size(self.augment, self.data.image_size))
        return encoder

    def header(self) -> dict[str, Any]:
        return {
            "encoder": self.config.encoder.model_dump(mode="json"),
            "channels": self.data.channels,
            "image_size": self.data.image_size,
            "picture_size": self.data.train.images.shape[-1],
            "mean": list(self.stats[0]),
            "std": list(self.stats[1]),
        }

    def names(self) -> dict[str, Any]:
        out: dict[str, Any] = {"classes": self.data.classes} if self.data.classes else {}
        for name, split in self._splits().items():
            if len(split.files):
                out[f"{name}_files"] = [split.files[i] for i in split.readable().tolist()]
        return out

    def notes(self) -> tuple[str, ...]:
        return self.data.notes if self.recipe is None else (*self.data.notes, told(self.recipe, self.augment))

    def prepare(self, method: Method[Any]) -> list[str]:
        return method.prepare(self.preview)

    def method_scores(self, method: Method[Any]) -> Scores:
        return method.scores(partial(self.preview, held_out=True))

    def facts(self) -> dict[str, Any]:
        return {} if self.recipe is None else {"recipe": self.recipe.source}

    def broken(self) -> list[str]:
        read = (f"{name}: {why}" for split in self._splits().values() for name, why in split.broken().items())
        known = (name for data in (self.data, self.probed, self.transfer) if data for name in data.broken)
        return sorted({*known, *read})

    def watch(self, encoder: nn.Module, device: torch.device, index: Tensor) -> Tensor:
        return embed(encoder, self.data.train.batches(self.data.image_size, index), self.stats, device)

    def preview(self, held_out: bool = False) -> Preview:
        """Some training images, or held-out ones (training images where there are none), as a method sees them once."""
        split = self.data.test if held_out and len(self.data.test) else self.data.train
        pixels = self.data.channels * self.data.image_size**2
        index = evenly(max(1, min(_PREVIEWED, _PREVIEWED_VALUES // pixels)), len(split))
        squares = (split.squares(part, self.data.image_size) for part in index.split(512))
        return Preview(embed(nn.Identity(), squares, self.stats), split.labels[index], self.stats, self.config.seed)

    def _splits(self) -> dict[str, Split]:
        """What has images: ``train``, ``validation`` and ``test`` of the run, ``eval_train`` and ``eval_test``,
        ``transfer_train`` and ``transfer_test``."""
        found = {name: getattr(self.data, name) for name in ("train", "validation", "test")}
        for kind, data in (("eval", self.probed), ("transfer", self.transfer)):
            if data is not None:
                found |= {f"{kind}_train": data.train, f"{kind}_test": data.test}
        return {name: split for name, split in found.items() if len(split)}

    def features(self, encoder: nn.Module, device: torch.device, scored: bool = False) -> Features:
        """As in :class:`Task`; without labels the scores look at 2,048 images of a split.

        ``scored``: also ``shift_NAME``, features of the scored images under each of the shifts.
        """
        kept = getattr(self.config.data, "memory", math.inf)

        def mapped(batches: Iterable[Tensor], count: int) -> Tensor:
            return embed(encoder, batches, self.stats, device, lambda d: rows(count, d, kept, self.config.run_dir))

        out = self._with_labels(mapped, self._splits(), few=scored and self.scored is None)
        if scored and self.scored is not None:
            for name in self.shifts:
                shift = partial(shifted, name=name)
                out |= self._with_labels(mapped, {f"shift_{name}": self.scored.test}, changed=shift)
        return out

    def _with_labels(
        self,
        mapped: Callable[[Iterable[Tensor], int], Tensor],
        splits: dict[str, Split],
        few: bool = False,
        changed: Callable[[Iterator[Tensor]], Iterator[Tensor]] = iter,
    ) -> Features:
        out: Features = {}
        for name, split in splits.items():
            thin = few and not name.startswith("transfer_")
            split = split.take(evenly(_GEOMETRY_IMAGES, len(split))) if thin else split
            x = mapped(changed(self._squares(split)), len(split))
            at = split.readable()
            out |= {name: kept_rows(x, at), f"{name}_labels": split.labels[at]}
        return out

    def _squares(self, split: Split) -> Iterator[Tensor]:
        return (in_channels(batch, self.data.channels) for batch in split.batches(self.data.image_size))

    def _score(self, features: Features) -> Scores:
        transfer = transfer_scores(features, self.config.eval)
        if self.scored is None:
            return transfer
        prefix = "" if self.probed is None else "eval_"
        (bank, y), (query, truth) = (known_rows(features, f"{prefix}{name}") for name in ("train", "test"))
        near = knn_and_few_labels(bank, y, query, truth, self.config.eval)
        near |= spread_labels(bank, y, query, truth, self.config.eval)
        probe = LinearProbe(bank, y, max_iter=1000)
        under = shift_scores(probe, bank, y, features, self.shifts, self.config.eval)
        return {**near, "linear_top1": probe.accuracy(query, truth), **under, **transfer}

    @torch.no_grad()
    def geometry(self, method: Method[Any], views: nn.Module, features: Features, device: torch.device) -> Scores:
        def encode(pixels: Tensor) -> Tensor:
            h = method.encoder(pixels)
            return torch.cat([h, method.positives(h)], dim=1)

        both = self._two_views(views, device, encode, self.data.train)
        width = features["train"].size(1)
        first, second = both[..., :width]
        z = both[..., width:].contiguous()
        name = "test" if "test" in features else "train"
        rows = evenly(_GEOMETRY_IMAGES, len(features[name]))
        x, y = features[name][rows], features[f"{name}_labels"][rows]
        scores = geometry_scores(z, x, y if bool((y >= 0).all()) else None)
        return scores | {"view_agreement": view_agreement(first, second)}

    @torch.no_grad()
    def _projections(self, method: Method[Any], views: nn.Module, device: torch.device) -> Tensor:
        held_out = self.data.test if len(self.data.test) > 1 else self.data.train
        return self._two_views(views, device, lambda pixels: method.positives(method.encoder(pixels)), held_out)

    @staticmethod
    def looked_at(size: int) -> Tensor:
        """Positions of the images on which views are measured."""
        return evenly(_GEOMETRY_IMAGES, size)

    def _two_views(
        self, views: nn.Module, device: torch.device, encode: Callable[[Tensor], Tensor], split: Split
    ) -> Tensor:
        """Two views of some images, encoded: ``(2, m, d)`` on the CPU, the same views every time."""
        views = views.whole if isinstance(views, MultiCrop) else views
        generator = torch.Generator(device=device).manual_seed(0)
        parts = []
        for index in self.looked_at(len(split)).split(max(1, at_once(self.data.image_size) // 2)):
            images, aspect = split.read(index)
            drawn = views(images.to(device), 2, generator, None if aspect is None else aspect.to(device))
            parts.append(encode(drawn).float().cpu().unflatten(0, (2, -1)))
        return torch.cat(parts, dim=1)

    @property
    def labeled(self) -> bool:
        return self.scored is not None

    def _floors(self) -> dict[str, Scores]:
        """Raw pixels as features, ``(n, C·H·W)`` from 0 to 1, at most ``RAW_SIDE`` px wide."""
        if self.scored is not None:
            own = {name: split for name, split in self._splits().items() if not name.startswith("transfer_")}
            return {"raw pixels": self.score(self._with_labels(lambda batches, count: raw_pixels(batches), own))}
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in self.stats)
        first, second = self._two_views(
            self.views(), torch.device("cpu"), lambda x: raw_pixels([(x * std + mean) * 255]), self.data.train
        )
        index = evenly(_GEOMETRY_IMAGES, self.size)
        pixels = raw_pixels(self.data.train.batches(self.data.image_size, index))
        return {"raw pixels": {"effective_rank": rank_of(pixels), "view_agreement": view_agreement(first, second)}}

    def fingerprint(self) -> dict[str, Any] | None:
        return None if self.scored is None else fingerprint(self.config, self._splits(), self.stats, self.protocol())

    def protocol(self) -> str:
        config, scored, raw = self.config.eval, self.scored, f"averaged to {RAW_SIDE} × {RAW_SIDE} px"
        raw = f"; raw pixels: {raw}" * (self.data.image_size > RAW_SIDE)
        if scored is None:
            return (
                f"no labels; frozen encoder in eval mode, on {min(self.size, _GEOMETRY_IMAGES):,} of the {self.size:,} "
                "training images; view agreement: nearest by cosine, features before the projector; effective rank: "
                "those features without augmentation; alignment and uniformity: unit projections of two views"
                + raw
                + self._moved()
            )
        bank = int((scored.train.labels >= 0).sum())
        k, more = min(config.knn_k, bank), self.size - len(self.known)
        folder = "" if self.probed is None else f" of eval.root={config.root}"
        return (
            f"frozen encoder in eval mode, no augmentation, features before the projector; scored on the "
            f"{len(scored.test):,} images of the {config.split} split{folder} with {'its' if folder else 'the'} "
            f"{bank:,} training images as bank and labels"
            + f"; trained on {self.size:,} images of {self.name}" * bool(folder)
            + f"; trained on {more:,} more without labels" * (more > 0 and not folder)
            + f"; knn: weighted, cosine, k={k}, T={config.knn_temperature:g}; linear: logistic "
            f"regression on standardized features, C=1; labelN: logistic regression on unit features, N labels per "
            f"class, C=10, mean of {config.draws} draws; spread: the same labels propagated along the kNN graph of up "
            "to 10,000 training images" + raw + self._moved()
        )

    def _moved(self) -> str:
        """What the protocol says of shifts and of transfer."""
        config, side, text = self.config.eval, self.data.image_size, ""
        if self.shifts:
            listed = ", ".join(told_shift(name, side) for name in self.shifts)
            text += f"; shifts: the same probes on the scored images under {listed}"
        if self.scored and len(self.shifts) < len(config.shifts):
            text += "; grey: absent, the images are gray"
        if self.transfer is not None:
            bank, where = int((self.transfer.train.labels >= 0).sum()), config.transfer or self.name
            classes = f" ({', '.join(self.transfer.classes)})" if config.transfer_classes else ""
            text += (
                f"; transfer: linear and knn probes on {bank:,} training images of {where}{classes}, scored on "
                f"{len(self.transfer.test):,}"
            )
        return text
