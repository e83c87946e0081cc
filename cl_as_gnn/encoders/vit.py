"""A small vision transformer whose patches can be hidden, for methods that predict them."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cl_as_gnn.config import EncoderConfig
from cl_as_gnn.encoders.base import Encoder, Inputs, image_side
from cl_as_gnn.errors import ConfigError


def patches(x: Tensor, side: int) -> Tensor:
    """Cut images ``(n, C, H, W)`` into squares of ``side`` px, row by row: ``(n, P, C · side²)``."""
    return F.pixel_unshuffle(x, side).flatten(2).transpose(1, 2)


def nearest(x: Tensor, centers: Tensor) -> Tensor:
    """Index of the nearest of ``centers`` ``(K, d)`` to each vector of ``x`` ``(…, d)``, by Euclidean distance."""
    centers = centers.to(x.dtype)
    return (centers.square().sum(1) - 2 * x @ centers.t()).argmin(-1)


def positions(count: int, width: int) -> Tensor:
    """Sines and cosines of row and column of a square grid of ``count`` patches, ``(count, width)``."""
    place = torch.arange(math.isqrt(count), dtype=torch.float)
    rate = 10000 ** -(torch.arange(width // 4) / (width / 4))
    angle = place[:, None] * rate
    wave = torch.cat([angle.sin(), angle.cos()], 1)
    side = len(place)
    return torch.cat([wave[:, None].expand(-1, side, -1), wave[None].expand(side, -1, -1)], 2).flatten(0, 1)


def xavier(module: nn.Module) -> None:
    """Draw the weights of a linear map as MAE does; its bias starts at zero. For ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def rows_at(x: Tensor, index: Tensor) -> Tensor:
    """Rows of each sample at ``index`` ``(n, k)``: ``(n, P, …)`` to ``(n, k, …)``."""
    return x.gather(1, index.view(*index.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:]))


class Block(nn.Module):
    """A transformer layer: attention, then a two-layer MLP, each added to its input and normalized before it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        q, k, v = self.qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm_2(x))
        return out


class ViTConfig(EncoderConfig):
    name: Literal["vit"] = "vit"
    width: int = Field(64, ge=8, le=4096, multiple_of=8, description="width of the patch vectors, and of the features")
    depth: int = Field(3, ge=1, le=64, description="vit: transformer layers")
    attention_heads: int = Field(4, ge=1, le=64, description="vit: attention heads, a divisor of the width")
    patch: int | None = Field(
        None, ge=1, le=512, description="vit: side of a patch in px, None = 2 or up to 8 × 8 of them"
    )
    split: int = Field(0, ge=0, description="first channels, which get an encoder of their own; 0: one encoder for all")
    causal: bool = Field(False, description="vit: a patch attends only to those before it, in reading order")
    tokens: int = Field(0, ge=0, le=65536, description="vit: read each patch as the nearest of that many; 0: as pixels")


class ViT(Encoder):
    """A transformer on the patches of an image: ``(n, C, S, S) -> (n, width)``, the mean over the patches.

    Positions are fixed sines and cosines; there is no class token. :meth:`embed` and :meth:`mix` are its two halves:
    a method hides patches between them. With ``tokens`` K > 0 a patch enters as the learned vector of the nearest row
    of ``codebook`` (K, C · patch²), a buffer that is random until a method writes it.
    """

    Config = ViTConfig
    summary = "a small vision transformer: mean of the patches, sine-cosine positions; patches can be hidden"
    has_patches = True

    @classmethod
    def build(cls, config: ViTConfig, inputs: Inputs) -> ViT:
        side = image_side(inputs)
        least = max(2, side // 8)
        patch = config.patch or next(p for p in range(least, side + 1) if side % p == 0)
        if side % patch:
            raise ConfigError(f"encoder.patch={patch} does not divide images of {side} px: use a divisor")
        if config.width % config.attention_heads:
            raise ConfigError(
                f"encoder.attention_heads={config.attention_heads} does not divide encoder.width={config.width}: "
                "use a divisor"
            )
        return cls(config, inputs.channels, side, patch)

    def __init__(self, config: ViTConfig, channels: int, side: int, patch: int):
        super().__init__()
        self.out_dim, self.patch, self.causal = config.width, patch, config.causal
        self.num_patches = (side // patch) ** 2
        self.patch_dim = channels * patch**2
        self.codebook = nn.Buffer(torch.randn(config.tokens, self.patch_dim)) if config.tokens else None
        self.input: nn.Module = nn.Linear(self.patch_dim, config.width)
        if self.codebook is not None:
            self.input = nn.Embedding(config.tokens, config.width)
        self.position = nn.Buffer(positions(self.num_patches, config.width), persistent=False)
        self.blocks = nn.ModuleList(Block(config.width, config.attention_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.apply(xavier)
        if isinstance(self.input, nn.Linear):  # else positions, of size 1, drown the pixels
            nn.init.normal_(self.input.weight, std=self.patch_dim**-0.5)

    def token(self, x: Tensor) -> Tensor:
        """Index in the codebook of each patch of images, ``(n, P)``."""
        assert self.codebook is not None
        return nearest(patches(x, self.patch), self.codebook)

    def embed(self, x: Tensor) -> Tensor:
        """Vectors of the patches of images with their positions, ``(n, P, width)``, in reading order."""
        read = patches(x, self.patch) if self.codebook is None else self.token(x)
        out: Tensor = self.input(read) + self.position
        return out

    def position_of(self, width: int) -> Tensor:
        """Positions of the patches in another width, ``(P, width)``."""
        return positions(self.num_patches, width)

    def mix(self, x: Tensor) -> Tensor:
        """Apply the layers to embedded patches, all or some of them: ``(n, p, width)`` to the same shape."""
        for block in self.blocks:
            x = block(x, self.causal)
        out: Tensor = self.norm(x)
        return out

    def maps(self, x: Tensor) -> Tensor:
        y = self.mix(self.embed(x)).transpose(1, 2)
        out: Tensor = y.unflatten(2, (math.isqrt(self.num_patches), -1))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.embed(x)).mean(1)
