"""Scores of images without training: what they are computed on, and what tells them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.config import RunConfig
from cl_as_gnn.datasets import Split
from cl_as_gnn.datasets.kept import LEAST
from cl_as_gnn.encoders import ENCODERS
from cl_as_gnn.evaluation.scores import all_scores

# Raw pixels of larger images are scored at this side.
RAW_SIDE = 32
_PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "numpy", "faiss-gpu", "faiss-cpu", "torch-geometric")


def raw_pixels(batches: Iterable[Tensor]) -> Tensor:
    parts = (part.float() / 255 for part in batches)
    return torch.cat([(F.adaptive_avg_pool2d(x, RAW_SIDE) if x.size(-1) > RAW_SIDE else x).flatten(1) for x in parts])


def fingerprint(
    config: RunConfig, splits: Mapping[str, Split], stats: tuple[Sequence[float], Sequence[float]], protocol: str
) -> dict[str, Any] | None:
    """All that scores without training depend on, as JSON: settings, versions, and a digest of pixels and labels.

    ``None`` of few images, which are scored in seconds; of images that are not in memory; and where code of others
    takes part, an encoder or a score.
    """
    if sum(map(len, splits.values())) < LEAST:
        return None
    foreign = not ENCODERS[config.encoder.name].__module__.startswith("cl_as_gnn.") or ":" in config.encoder.name
    if foreign or config.encoder.name == "given" or any(s.measure is not None for s in all_scores().values()):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for name, split in splits.items():
        if not isinstance(split.images, Tensor):
            return None
        digest.update(f"{name} {tuple(split.images.shape)}".encode())
        for part in (split.images, split.labels, split.aspect):
            if part is not None:
                digest.update(part.cpu().contiguous().numpy().data)
    return {
        "eval": config.eval.model_dump(mode="json"),
        "encoder": config.encoder.model_dump(mode="json"),
        "seed": config.seed,
        "stats": stats,
        "protocol": protocol,
        "images": digest.hexdigest(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
