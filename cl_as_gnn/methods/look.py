from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from cl_as_gnn.encoders.tokenizers import cluster_centers
from cl_as_gnn.encoders.vit import patches
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import connected_within, singular_values
from cl_as_gnn.graph.co_occurrence import joint
from cl_as_gnn.graph.schema import TOKEN_TARGET
from cl_as_gnn.methods.base import Batch, Preview
from cl_as_gnn.methods.patch_method import PatchConfig, PatchMethod
from cl_as_gnn.nn.distributed import gather_views
from cl_as_gnn.nn.terms import Term, TokenContrast

# Contexts whose graph is measured before training, and images whose likelihood is after it.
_CONTEXTS, _JUDGED = 6400, 512
_SPECTRUM = 10


class LookConfig(PatchConfig):
    name: Literal["look"] = "look"
    objective: Literal["ar", "ar_diverse", "masked", "masked_varied"] = Field(
        "ar", description="predict the next token, the next s, a fixed share, or a share drawn for each image"
    )
    ahead: int = Field(3, ge=2, le=64, description="objective=ar_diverse: tokens ahead, s")
    mask: float = Field(0.75, gt=0, lt=1, description="objective=masked: share of the tokens that are hidden")


class Look(PatchMethod[LookConfig]):
    r"""`Look Ahead or Look Around <https://arxiv.org/abs/2407.00935>`_: contexts attract to their tokens.

    .. math::
        L = -\sum_{r = 1}^{s} \frac{1}{W_r} \sum_i \log \frac{e^{x_i \cdot c^r_{t(i + r)} / \tau}}
            {\sum_k e^{x_i \cdot c^r_k / \tau}} \;\; \text{(ahead)}, \qquad
        L = -\frac1W \sum_{i \text{ hidden}} \log \frac{e^{x_i \cdot c_{t(i)} / \tau}}{\sum_k e^{x_i \cdot c_k / \tau}}
            \;\; \text{(around)},

    on the tokens of an image in reading order. Ahead, :math:`x_i` is the context of all tokens up to i, and
    s = 1 is plain autoregression; around, the context is all that is not hidden. The graph has contexts and targets, a
    target being a place and its token. Contexts with a common target attract each other over two hops; a context that
    has more targets meets more others.
    """

    Config = LookConfig
    attracts = "contexts to the centers of the tokens ahead of them or around them: over two hops, contexts alike"
    source = "Zhang et al., ICML 2024 (Look Ahead or Look Around)"

    @classmethod
    def recipe(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        causal = str(settings.get("objective", "ar")).startswith("ar")
        return {"encoder": {"name": "vit", "tokens": 32, "causal": causal}}

    @property
    def steps(self) -> tuple[int, ...]:
        """How many places a target lies ahead of its context; 0 for objectives that look around."""
        config = self.config
        if not config.objective.startswith("ar"):
            return (0,)
        return tuple(range(1, 1 + (config.ahead if config.objective == "ar_diverse" else 1)))

    def build_modules(self) -> None:
        config, encoder, count = self.config, self.vit, self.vit.num_patches
        if encoder.codebook is None:
            raise ConfigError("method.name=look reads tokens and encoder.tokens=0 reads pixels: set encoder.tokens=32")
        if encoder.causal != config.objective.startswith("ar"):
            cure = str(not encoder.causal).lower()
            raise ConfigError(
                f"method.objective={config.objective} expects encoder.causal={cure}: set it, or leave it out"
            )
        if max(self.steps) >= count:
            raise ConfigError(f"method.ahead={config.ahead} with {count} tokens of an image: use less than {count}")
        self.num_hidden = round(count * config.mask)
        if config.objective == "masked" and not 0 < self.num_hidden < count:
            raise ConfigError(
                f"method.mask={config.mask:g} hides {self.num_hidden} of {count} tokens: use another share"
            )
        shape = len(encoder.codebook), encoder.out_dim
        self.centers = nn.ParameterList(torch.randn(shape) * shape[1] ** -0.5 for _ in self.steps)
        if self.steps == (0,):
            self.hidden = nn.Parameter(torch.randn(encoder.out_dim) * 0.02)
        self.measured = nn.Buffer(torch.full((1 + _SPECTRUM,), -1.0))  # connected pairs and spectrum, once known

    def prepare(self, preview: Callable[[], Preview]) -> list[str]:
        seen, encoder = preview(), self.vit
        assert encoder.codebook is not None
        count, size = encoder.num_patches, len(encoder.codebook)
        rows = patches(seen.inputs, encoder.patch).flatten(0, 1)
        encoder.codebook.copy_(cluster_centers(rows, size, seen.seed))
        token = encoder.token(seen.inputs[: max(1, min(400, _CONTEXTS // count))])
        image, labels = torch.arange(len(token)), seen.labels[: len(token)]
        draws = torch.rand(2, len(token), count, generator=torch.Generator().manual_seed(seen.seed))
        weight = self.targets(draws[0].argsort(1), draws[1])
        # Ahead, every place of an image is a context; around, the image is one.
        ends = [(image[:, None] * count + torch.arange(count) * (step > 0), step) for step in self.steps]
        context = torch.cat([row[w > 0] for (row, _), w in zip(ends, weight, strict=True)])
        place = torch.arange(count).expand_as(token)
        target = torch.cat(
            [((place + s) % count * size + token.roll(-s, 1))[w > 0] for s, w in zip(self.steps, weight, strict=True)]
        )
        b = joint(context, target, len(token) * count, count * size)
        used = b.sum(1) > 0
        spectrum = singular_values(b, _SPECTRUM)
        self.measured[1 : 1 + len(spectrum)] = torch.tensor(spectrum)
        line = f"{int(used.sum()):,} contexts × {count * size:,} targets: σ₂ {spectrum[1]:.3f}"
        if int(labels.min()) < 0:
            return [line]
        self.measured[0] = connected_within(b[used], labels.repeat_interleave(count)[used])
        return [f"{line}, {self.measured[0]:.3f} of the pairs of a class meet in a target"]

    def scores(self, preview: Callable[[], Preview]) -> dict[str, Any]:
        device = self.measured.device
        pixels = preview().inputs[:_JUDGED]
        loss = torch.stack([self.next_token_loss(part.to(device)) for part in pixels.split(128)])
        share = loss.new_tensor([len(part) / len(pixels) for part in pixels.split(128)])
        connected, *spectrum = self.measured.tolist()
        known = {"connected": connected, "sigma_2": spectrum[1]}
        out: dict[str, Any] = {key: value for key, value in known.items() if value >= 0}
        return out | {"token_nll": float(loss @ share), "singular_values": [v for v in spectrum if v >= 0]}

    @torch.no_grad()
    def next_token_loss(self, pixels: Tensor) -> Tensor:
        """−log likelihood of each token but the first, given all before it: a mean, in nats, whatever the objective."""
        token, count, tau = self.vit.token(pixels), self.vit.num_patches, self.config.temperature
        if self.steps != (0,):
            seen = self.contexts(pixels, None)[:, :-1]
        else:  # each place from what comes before it, all else hidden
            parts = []
            for i in range(1, count):
                rest = (torch.arange(count, device=pixels.device) >= i).expand(len(pixels), -1)
                parts.append(self.contexts(pixels, rest)[:, i])
            seen = torch.stack(parts, 1)
        return F.cross_entropy((seen @ self.centers[0].t() / tau).flatten(0, 1), token[:, 1:].flatten())

    def contexts(self, pixels: Tensor, hidden: Tensor | None) -> Tensor:
        """Vectors of all places ``(n, P, d)``; where ``hidden`` ``(n, P)`` the token is not seen."""
        x = self.vit.embed(pixels)
        if hidden is not None:
            x = torch.where(hidden.unsqueeze(2), (self.hidden + self.vit.position).to(x.dtype), x)
        return self.vit.mix(x)

    def targets(self, order: Tensor, draws: Tensor) -> list[Tensor]:
        """Return 1 where a place is to predict a token, else 0, ``(n, P)`` for each of :attr:`steps`.

        Args:
            order: of the places of each image, ``(n, P)``, of which the last are hidden.
            draws: between 0 and 1, ``(n, P)``; the first says how many are hidden.
        """
        count = order.size(1)
        if self.steps != (0,):
            place = torch.arange(count, device=order.device).expand_as(order)
            return [(place < count - step).float() for step in self.steps]
        many: int | Tensor = self.num_hidden
        if self.config.objective == "masked_varied":
            many = 1 + (draws[:, :1] * (count - 1)).floor()
        return [(order.argsort(1) >= count - many).float()]

    def graph(self, batch: Batch) -> HeteroData:
        """Build the minibatch graph: contexts, which are the places of each image, tokens, and who predicts what."""
        pixels = batch.inputs
        assert isinstance(pixels, Tensor)
        weights = self.targets(*self.draw(batch, pixels.device))
        x = self.contexts(pixels, weights[0] > 0 if self.steps == (0,) else None)
        token = gather_views(self.vit.token(pixels))
        with torch.autocast(pixels.device.type, enabled=False):
            data = self.nodes_of(batch, x.mean(1), x)
            data["token"].x = self.centers[0]
            place = torch.arange(token.size(1), device=token.device).expand_as(token)
            ahead = torch.stack([token.roll(-step, 1).flatten() for step in self.steps])
            where = torch.stack([((place + step) % token.size(1)).flatten() for step in self.steps])
            ends = torch.arange(ahead.size(1), device=token.device).expand_as(ahead)
            edges = data[TOKEN_TARGET]
            edges.edge_index = torch.stack([ahead.flatten(), ends.flatten()])
            edges.edge_weight = torch.cat([gather_views(weight).flatten() for weight in weights])
            edges.target = where.flatten() * len(self.centers[0]) + edges.edge_index[0]
        return data

    def terms(self, data: HeteroData, batch: Batch) -> list[Term]:
        edges, tau = data[TOKEN_TARGET], self.config.temperature
        parts = zip(edges.edge_index[0].chunk(len(self.steps)), edges.edge_weight.chunk(len(self.steps)), strict=True)
        pairs = zip(self.centers, parts, strict=True)
        return [TokenContrast(token, centers, tau, weight) for centers, (token, weight) in pairs]
