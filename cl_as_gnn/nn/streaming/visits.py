"""The two visits of the tiles of all pairs: one for the sums of the rows, one for the messages."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_as_gnn.nn.streaming.sharing import share_tiles, threads_for
from cl_as_gnn.nn.streaming.tile_edges import TileEdges
from cl_as_gnn.nn.streaming.tiles import Tiles


class Visits:
    """Two visits of all tiles, by several threads where that pays.

    Args:
        x: features ``(n, d)``, in the order of the tiles.
        scaled: the same, such that the products of its rows are the exponents of all pairs.
        tiles: symmetric ones.
        plain: exponents are powers of two, not relative to the largest of each row.
        keep: the tiles of the first visit for the second.
        edges: pairs that are counted by themselves.
    """

    def __init__(self, x: Tensor, scaled: Tensor, tiles: Tiles, plain: bool, keep: bool, edges: TileEdges | None):
        self.x, self.keys, self.scaled, self.edges = x, x.to(scaled.dtype), scaled, edges
        self.tiles, self.places, self.blocks = tiles, list(tiles), [tiles.pair(tile) for tile in tiles]
        self.plain, self.keep, self.fill = plain, keep, 0.0 if plain else -math.inf
        self.threads = threads_for(tiles.blocks, x.device)
        self.total, self.peak = (x.new_full((x.size(0),), value) for value in (0.0, -math.inf))
        self.buffers = [scaled.new_empty(tiles.area) for _ in range(len(tiles) if keep else self.threads)]
        self.spare = [scaled.new_empty(tiles.area) for _ in range(self.threads)]
        # A CPU sums bf16 faster after a copy, a GPU while it reads.
        copied = scaled.dtype != x.dtype and not x.is_cuda
        self.wide = [x.new_empty(tiles.area) for _ in range(self.threads if copied else 0)]

    def run(self, row_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-partition, the messages, and what :meth:`TileEdges.result` says of the edges."""
        share_tiles(self.blocks, self._sum, self.threads)
        if self.edges is not None:
            self.total, joined = self.edges.join(self.total, None if self.plain else self.peak)
            self.peak = self.peak if joined is None else joined
        self.shift = _finite(self.peak)
        self.weight = torch.where(self.total == 0, 0, row_weight / self.total).to(self.scaled.dtype)
        self.message = torch.zeros_like(self.x)
        share_tiles(self.blocks, self._send, self.threads)
        lse = self.total.log() if self.plain else self.peak + self.total.log()
        along = self.x.new_zeros(2, 0) if self.edges is None else self.edges.result(self.x, lse, row_weight)
        return lse, self.message, along

    def _pairs(self, number: int, thread: int, first: bool) -> Tensor:
        """The exponents of a tile, or their powers."""
        rows, columns = self.places[number]
        tile = _part(self.buffers[number if self.keep else thread], rows, columns)
        scaled, other = self.scaled[rows], self.scaled[columns].t()
        if scaled.is_cuda and scaled.dtype != self.x.dtype:  # always plain; rounded after the exponential
            torch.exp2(torch.mm(scaled, other, out_dtype=self.x.dtype), out=tile)
        else:
            torch.mm(scaled, other, out=tile)
            tile = tile.exp2_() if self.plain else tile
        tile = self.tiles.mask(tile, rows, columns, self.fill)
        if self.edges is not None:
            self.edges.take(number, tile, self.fill, first)
        return tile

    def _sum(self, number: int, thread: int) -> None:
        rows, columns = self.places[number]
        tile = self._pairs(number, thread, first=True)
        if self.wide:
            tile = _part(self.wide[thread], rows, columns).copy_(tile)
        for part, dim in ((rows, 1), (columns, 0))[: 1 + (rows != columns)]:
            if self.plain:
                self.total[part].add_(tile.sum(dim, dtype=self.x.dtype))
            else:
                old, new = self.peak[part], torch.maximum(self.peak[part], tile.amax(dim))
                base = _finite(new)
                grown = (tile - base.unsqueeze(dim)).exp_().sum(dim)
                self.total[part] = self.total[part] * (old - base).exp() + grown
                self.peak[part] = new

    def _send(self, number: int, thread: int) -> None:
        rows, columns = self.places[number]
        kept = _part(self.buffers[number], rows, columns) if self.keep else None
        tile = self._pairs(number, thread, first=False) if kept is None else kept
        weight = self.weight
        if self.plain:
            spare = _part(self.spare[thread], rows, columns)
            tile.mul_(torch.add(weight[rows].unsqueeze(1), weight[columns], out=spare))
        else:
            forth = (tile - self.shift[rows].unsqueeze(1)).exp_().mul_(weight[rows].unsqueeze(1))
            tile = (tile - self.shift[columns]).exp_().mul_(weight[columns]).add_(forth)
        for to, source, share in ((rows, columns, tile), (columns, rows, tile.t()))[: 1 + (rows != columns)]:
            if tile.dtype == self.x.dtype:
                self.message[to].addmm_(share, self.keys[source])
            else:
                self.message[to].add_(wide_product(share, self.keys[source], self.x.dtype))


def wide_product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """A product of half precision that a GPU does not round to it."""
    return torch.mm(a, b, out_dtype=dtype) if a.is_cuda and a.dtype != dtype else torch.mm(a, b)


def _finite(peak: Tensor) -> Tensor:
    """The largest logits, 0 where a row has none."""
    return peak.masked_fill(peak == -math.inf, 0)


def _part(buffer: Tensor, rows: slice, columns: slice) -> Tensor:
    """The start of a buffer, in the shape of a tile."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    return buffer[: shape[0] * shape[1]].view(shape)
