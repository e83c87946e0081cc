"""A few edges that are taken out of all pairs, as loops are, and counted by themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.operators.adjacency import remembered
from cl_as_gnn.nn.streaming.tiles import Tiles


def _copies(edge_index: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """How often each edge is given, whether one runs back, and whether it is a loop; empty if the host sees none."""
    source, anchor = edge_index.long()
    forth, back = anchor * n + source, source * n + anchor
    known = forth.sort().values
    copies, others = (
        torch.searchsorted(known, key, right=True) - torch.searchsorted(known, key) for key in (forth, back)
    )
    loop = source == anchor
    return copies, others > 0, loop if loop.device.type != "cpu" or loop.any() else loop[:0]


class PairEdges:
    r"""Positive edges among all pairs: what there is on them, and the rest without them.

    Where a softmax has converged on its positives, :math:`1 - p` is the sum of the others over the total. Computed that
    way it is as accurate as p; as a difference it would be rounded to 1e-7 of 1.

    Args:
        edge_index: ``(2, E)``, row 0 the sources, row 1 the anchors.
        weight: a, ``(E,)``.
        n: number of nodes.
        order: nodes in the order in which the pairs are visited; ``None`` where it is theirs.
        temperature: of all pairs.
    """

    def __init__(self, edge_index: Tensor, weight: Tensor, n: int, order: Tensor | None, temperature: float):
        self.temperature = temperature
        copies, back, loop = remembered(edge_index, ("copies", n), lambda: _copies(edge_index, n))
        self.once, self.loop, self.weight = 1 / copies.to(weight.dtype), loop, weight
        self.alone = self.once * ~back
        source, anchor = edge_index if order is None else order.argsort()[edge_index]
        self.source, self.anchor = source.long(), anchor.long()

    def pairs(self) -> Tensor:
        """Both entries of each edge in the matrix of pairs, ``(2, 2E)``: anchor by source, then source by anchor."""
        return torch.stack([torch.cat([self.anchor, self.source]), torch.cat([self.source, self.anchor])])

    def logits(self, x: Tensor, batch: Tensor | None) -> Tensor:
        """Logits along the edges ``(E,)`` of rows in the order of the visit; −inf on loops and between graphs."""
        out = (x[self.anchor] * x[self.source]).sum(1) / self.temperature
        none = self.anchor == self.source
        if batch is not None:
            none = none | (batch[self.anchor] != batch[self.source])
        return out.masked_fill(none, -math.inf)

    def add(self, held: Tensor, rest: Tensor, peak: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Add the edges to the sums of the others: ``(total, peak)``.

        Args:
            held: logits of the edges ``(E,)``, or their exponentials without a ``peak``.
            rest: sum of exponentials over the other pairs, ``(n,)``.
            peak: largest logit of them, to which ``rest`` is relative.
        """
        near = far = held
        self.logit = held.log() if peak is None else held
        if peak is not None:
            top = peak.scatter_reduce(0, self.anchor, held, "amax")
            top = top.scatter_reduce(0, self.source, held.masked_fill(self.alone == 0, -math.inf), "amax")
            base = top.masked_fill(top == -math.inf, 0)
            rest, peak = rest * (peak - base).exp(), top
            near, far = (held - base[self.anchor]).exp(), (held - base[self.source]).exp()
            self.logit = held - base[self.anchor]
        edges = torch.zeros_like(rest).index_add_(0, self.anchor, near * self.once)
        edges.index_add_(0, self.source, far * self.alone)
        total = rest + edges
        self.others = rest[self.anchor] + (edges[self.anchor] - near).clamp(min=0)
        # A node alone in its graph, which a loop may name, has no other.
        whole = total.masked_fill(total == 0, 1)
        self.far = far * self.alone / whole[self.source]
        self.rest = torch.where(total[self.anchor] == 0, 1, self.others / whole[self.anchor])
        return total, peak

    def result(self, x: Tensor, lse: Tensor, row_weight: Tensor) -> Tensor:
        r"""Return :math:`\log p` of each edge j → i, and :math:`a - \rho_i p`, less :math:`\rho_j p` of j → i reversed
        where it is no edge: ``(2, E)``."""
        log_share = -torch.logaddexp(torch.zeros_like(self.logit), self.others.log() - self.logit)
        if self.loop.numel():
            own = x.square().sum(1) / self.temperature - lse.masked_fill(lse == -math.inf, 0)
            log_share = torch.where(self.loop, own[self.anchor], log_share)
        share = row_weight[self.anchor] * self.once
        slope = (self.weight - share) + share * self.rest - row_weight[self.source] * self.far
        return torch.stack([log_share, slope])


class TileEdges(PairEdges):
    """The edges in the entries of tiles.

    Args:
        edge_index: ``(2, E)``, row 0 the sources, row 1 the anchors.
        weight: a, ``(E,)``.
        tiles: symmetric tiles of one side.
        temperature: of the loops, which no tile holds.
    """

    def __init__(self, edge_index: Tensor, weight: Tensor, tiles: Tiles, temperature: float):
        super().__init__(edge_index, weight, tiles.rows, tiles.order, temperature)
        # An edge has two entries; above the diagonal a tile holds one of them.
        row, column = self.pairs()
        self.found = weight.new_full((row.numel(),), -math.inf)
        bounds = [(rows.start, columns.start, columns.stop - columns.start) for rows, columns in tiles]
        side = next(iter(tiles))[0].stop
        self.first = self.anchor // side <= self.source // side
        self.parts: list[tuple[Tensor | slice, Tensor, Tensor | None]] = []
        if len(bounds) == 1:
            self.parts = [(slice(None), row * bounds[0][2] + column, None)]
        elif weight.device.type == "cpu":
            blocks = 1 + max(left for _, left, _ in bounds) // side
            numbers = row.new_full((blocks, blocks), len(bounds))  # the tile of two blocks, or the last number for none
            for number, (top, left, _) in enumerate(bounds):
                numbers[top // side, left // side] = number
            held = numbers[row // side, column // side]
            sizes = torch.bincount(held, minlength=len(bounds) + 1).tolist()
            for part, (top, left, width) in zip(held.argsort().split(sizes)[:-1], bounds, strict=True):
                self.parts.append((part, (row[part] - top) * width + (column[part] - left), None))
        else:  # A GPU looks at all edges in every tile, of which it has few: the host would have to wait for a choice.
            for top, left, width in bounds:
                inside = (row // side == top // side) & (column // side == left // side)
                self.parts.append((slice(None), ((row - top) * width + (column - left)) * inside, inside))

    def take(self, number: int, tile: Tensor, fill: float, keep: bool) -> None:
        """Overwrite a tile at the edges, in place, and ``keep`` what it held there."""
        (part, place, inside), flat = self.parts[number], tile.view(-1)
        if keep:
            self.found[part] = flat[place] if inside is None else torch.where(inside, flat[place], self.found)
        if inside is None:
            flat.index_fill_(0, place, fill)
        else:
            flat.scatter_reduce_(0, place, flat.new_full((), math.inf).where(~inside, fill), "amin")

    def join(self, rest: Tensor, peak: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Add what the tiles held at the edges to the sums of the others, as :meth:`add` does."""
        forth, back = self.found.chunk(2)
        return self.add(torch.where(self.first, forth, back), rest, peak)
