"""Tokenizers: which token each patch of an image has. They are fitted once, before training, into buffers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_as_gnn.encoders.frozen import FrozenEncoder, Stats
from cl_as_gnn.encoders.vit import nearest, patches
from cl_as_gnn.errors import ConfigError

Kind = Literal["pixels", "features", "class", "scrambled", "random"]
# More patches say the same and take longer.
_ROWS = 100_000
# Clusters of pixels for each scrambled token.
_FINER = 10


def cluster_centers(x: Tensor, count: int, seed: int) -> Tensor:
    """Cluster vectors ``(n, d)`` by k-means, at most 100,000 of them; returns the centers ``(count, d)``.

    Raises:
        ConfigError: there are fewer vectors than clusters.
    """
    if len(x) < count:
        raise ConfigError(f"{count} tokens expect as many patches, and there are {len(x)}: lower the number of tokens")
    if len(x) > _ROWS:
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:_ROWS]]
    from sklearn.cluster import MiniBatchKMeans

    found = MiniBatchKMeans(count, batch_size=4096, n_init=3, random_state=seed).fit(x.double().numpy())
    return torch.from_numpy(found.cluster_centers_).to(x.dtype)


class Tokenizer(nn.Module):
    """Images ``(n, C, S, S)`` to the token of each patch, ``(n, P)``, from 0 to K − 1.

    - ``pixels``: k-means of the patches.
    - ``features``: k-means of the features by position of a trained encoder, brought to the grid of the patches.
    - ``class``: the label of the image, an oracle.
    - ``scrambled``: ten times as many clusters of pixels, each given one of the K tokens by lot.
    - ``random``: a token by lot for every patch, anew in every step.

    Args:
        kind: one of these.
        num_tokens: K.
        patch: side of a patch in px.
        num_patches: P.
        dim: numbers in a patch; for features they are those of the encoder, known once it is read.
    """

    def __init__(self, kind: Kind, num_tokens: int, patch: int, num_patches: int, dim: int):
        super().__init__()
        self.kind, self.num_tokens, self.patch, self.num_patches = kind, num_tokens, patch, num_patches
        rows = num_tokens * (_FINER if kind == "scrambled" else 1)
        self.centers: Tensor = nn.Buffer(torch.randn(rows, dim))
        self.merged = nn.Buffer(torch.arange(rows) % num_tokens)
        self.source = FrozenEncoder() if kind == "features" else None

    def vectors(self, x: Tensor) -> Tensor:
        """What is clustered: a vector for each patch of images, ``(n, P, d)``."""
        if self.source is None:
            return patches(x, self.patch)
        side = round(self.num_patches**0.5)
        maps = F.interpolate(self.source(x).float(), (side, side), mode="bilinear", align_corners=False)
        return maps.flatten(2).transpose(1, 2)

    def fit(self, x: Tensor, run: Path | None, stats: Stats, seed: int) -> None:
        """Fit the tokens to images of the training set without augmentation.

        Raises:
            ConfigError: there are fewer patches than clusters, or ``run`` has no encoder for such images.
        """
        if self.kind in ("class", "random"):
            return
        if self.source is not None:
            assert run is not None
            self.source.read(run, stats, x.shape[1:])
        rows = torch.cat([self.vectors(part).flatten(0, 1) for part in x.split(256)])
        self.centers = cluster_centers(rows, len(self.centers), seed).to(self.centers.device)
        if self.kind == "scrambled":
            lot = torch.Generator().manual_seed(seed)
            self.merged.copy_(torch.randperm(len(self.merged), generator=lot) % self.num_tokens)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        if f"{prefix}centers" in state_dict:  # of features, as wide as those of the encoder that was read
            self.centers = torch.empty_like(state_dict[f"{prefix}centers"], device=self.centers.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def forward(self, x: Tensor, labels: Tensor | None, draws: Tensor) -> Tensor:
        """Tokens of images with ``labels`` ``(n,)``; ``draws`` ``(n, P)`` from 0 to 1 are the lots of ``random``."""
        if self.kind == "random":
            return (draws * self.num_tokens).long()
        if self.kind == "class":
            assert labels is not None
            return labels.unsqueeze(1).expand(-1, self.num_patches)
        return self.merged[nearest(self.vectors(x), self.centers)]
