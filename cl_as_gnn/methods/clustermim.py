from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.encoders.tokenizers import Tokenizer
from cl_as_gnn.encoders.vit import Block, patches, rows_at, xavier
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import tcas, token_counts, two_hop_purity
from cl_as_gnn.graph.schema import TOKEN_TARGET
from cl_as_gnn.methods.base import Batch, Preview
from cl_as_gnn.methods.patch_method import PatchConfig, PatchMethod, own_part
from cl_as_gnn.nn.distributed import gather_views
from cl_as_gnn.nn.terms import Regression, Term, TokenContrast


class ClusterMIMConfig(PatchConfig):
    name: Literal["clustermim"] = "clustermim"
    objective: Literal["tokens", "mae"] = Field("tokens", description="predict tokens, or pixels as MAE does")
    tokenizer: Literal["pixels", "features", "class", "scrambled", "random"] = Field(
        "pixels", description="what a token is: k-means of pixels, or of features of a run; controls"
    )
    num_tokens: int = Field(50, ge=2, le=65536, description="tokens K; as many as classes for tokenizer=class")
    run: Path | None = Field(None, description="tokenizer=features: folder of a run; {seed} is the seed of this one")
    mask: float = Field(0.75, gt=0, lt=1, description="share of the patches that are hidden")
    decoder_width: int = Field(32, ge=8, le=4096, multiple_of=8, description="width of the decoder")
    decoder_depth: int = Field(1, ge=1, le=64, description="transformer layers of the decoder")

    @model_validator(mode="after")
    def _features_have_a_source(self) -> ClusterMIMConfig:
        if (self.run is None) == (self.tokenizer == "features"):
            where = (
                "name the folder of a finished run" if self.run is None else "drop it, or set method.tokenizer=features"
            )
            raise ValueError(f"method.run={self.run} with method.tokenizer={self.tokenizer}: {where}")
        return self


class ClusterMIM(PatchMethod[ClusterMIMConfig]):
    r"""`ClusterMIM <https://arxiv.org/abs/2407.09087>`_: hidden patches attract to the centers of their tokens.

    .. math::
        L = -\frac1W \sum_i \log \frac{e^{x_i \cdot c_{t(i)} / \tau}}{\sum_k e^{x_i \cdot c_k / \tau}}, \qquad
        A = B \, \mathrm{diag}(P(S))^{-1} B^\top,

    over the hidden patches i, predicted from the visible ones by encoder and decoder; :math:`t(i)` is the token of the
    patch. A token joins all images that are to predict it: over two hops they attract each other along A, B the joint
    probability of image and token. With ``objective="mae"`` every patch is its own target:
    :math:`L = \mathbb{E} \lVert x_i - y_i \rVert^2 / d`, as in `MAE <https://arxiv.org/abs/2111.06377>`_, but of pixels
    that are not normalized by patch.
    """

    Config = ClusterMIMConfig
    attracts = "hidden patches to the centers of their tokens: over two hops, images that share tokens"
    source = "Du et al., ICLR 2024 (ClusterMIM)"

    def build_modules(self) -> None:
        config, encoder = self.config, self.vit
        count, width = encoder.num_patches, config.decoder_width
        self.visible = max(1, round(count * (1 - config.mask)))
        if self.visible >= count:
            raise ConfigError(
                f"method.mask={config.mask:g} hides none of {count} patches: raise it, or lower encoder.patch"
            )
        self.into, self.hidden = nn.Linear(encoder.out_dim, width), nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(width)
        self.position = nn.Buffer(encoder.position_of(width), persistent=False)
        self.out: nn.Module = nn.Identity()
        if config.objective == "mae":
            self.out = nn.Linear(width, encoder.patch_dim)
        for module in (self.into, self.blocks, self.out):
            module.apply(xavier)
        if config.objective == "mae":
            return
        self.centers = nn.Parameter(torch.randn(config.num_tokens, width) * width**-0.5)
        self.tokenizer = Tokenizer(config.tokenizer, config.num_tokens, encoder.patch, count, encoder.patch_dim)
        self.measured = nn.Buffer(torch.full((2,), -1.0))  # TCAS and purity, once known

    def prepare(self, preview: Callable[[], Preview]) -> list[str]:
        config = self.config
        if config.objective == "mae":
            return []
        seen = preview()
        if config.tokenizer == "class" and not (
            0 <= int(seen.labels.min()) <= int(seen.labels.max()) < config.num_tokens
        ):
            raise ConfigError(
                f"method.tokenizer=class with method.num_tokens={config.num_tokens} expects labels of all images, "
                f"below that: set method.num_tokens={int(seen.labels.max()) + 1}, or another tokenizer"
            )
        run = None if config.run is None else Path(str(config.run).replace("{seed}", str(seen.seed)))
        self.tokenizer.fit(seen.inputs, run, seen.stats, seen.seed)
        line = f"tokens: {config.tokenizer}, K = {config.num_tokens}"
        if int(seen.labels.max()) < 0:
            return [f"{line}; no labels, so no TCAS"]
        draws = torch.rand(
            len(seen.labels), self.tokenizer.num_patches, generator=torch.Generator().manual_seed(seen.seed)
        )
        parts = zip(seen.inputs.split(256), seen.labels.split(256), draws.split(256), strict=True)
        token = torch.cat([self.tokenizer(*part) for part in parts])
        counts = token_counts(token, seen.labels, config.num_tokens, int(seen.labels.max()) + 1)
        self.measured.copy_(torch.tensor([tcas(counts), two_hop_purity(counts)]))
        return [f"{line}, TCAS {self.measured[0]:.3f} (0: a class each), two-hop purity {self.measured[1]:.3f}"]

    def scores(self, preview: Callable[[], Preview]) -> dict[str, Any]:
        if self.config.objective == "mae" or float(self.measured.min()) < 0:
            return {}
        return dict(zip(("tcas", "two_hop_purity"), self.measured.tolist(), strict=True))

    def graph(self, batch: Batch) -> HeteroData:
        """Build the minibatch graph: the visible part of each image, its hidden patches, tokens and their edges."""
        pixels, encoder = batch.inputs, self.vit
        assert isinstance(pixels, Tensor)
        order, lots = self.draw(batch, pixels.device)
        keep, hidden = order[:, : self.visible], order[:, self.visible :]
        context = encoder.mix(rows_at(encoder.embed(pixels), keep))
        predicted = self.decode(context, keep, hidden)
        with torch.autocast(pixels.device.type, enabled=False):
            data = self.nodes_of(batch, context.mean(1), predicted)
            if self.config.objective == "mae":
                target = rows_at(patches(pixels, encoder.patch), hidden).flatten(0, 1)
                data["patch"].target = gather_views(target)
                return data
            labels = None if batch.labels is None else own_part(batch.labels)
            token = gather_views(rows_at(self.tokenizer(pixels, labels, lots), hidden).flatten())
            data["token"].x = self.centers
            data[TOKEN_TARGET].edge_index = torch.stack([token, torch.arange(len(token), device=token.device)])
        return data

    def decode(self, context: Tensor, keep: Tensor, hidden: Tensor) -> Tensor:
        """Predict the hidden patches from the visible ones: ``(n, k, width)`` to ``(n, P − k, d)``."""
        place = self.position.expand(len(keep), -1, -1)
        known = self.into(context) + rows_at(place, keep)
        x = torch.cat([known, (self.hidden + rows_at(place, hidden)).to(known.dtype)], 1)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.out(self.norm(x[:, keep.size(1) :]))
        return out

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        if self.config.objective == "mae":
            return [Regression(data["patch"].target)]
        return [TokenContrast(data[TOKEN_TARGET].edge_index[0], self.centers, self.config.temperature)]
