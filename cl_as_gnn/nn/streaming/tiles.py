"""Planner of tiles: which rectangles of the matrix of all pairs a kernel visits, and how large they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

# Bytes of one tile: a square tile stays in the cache of a CPU, a strip holds whole rows. All sizes come from here.
BYTES = {("cpu", "square"): 2**21, ("cpu", "strip"): 2**24, ("cuda", "square"): 2**28, ("cuda", "strip"): 2**30}
# Rows of a strip with graphs, few because a strip has the columns of all its graphs and masks most pairs of them.
_GRAPH_ROWS = 256


# Kernels hold a few strips at a time.
_SHARE_OF_A_GPU = 32


@lru_cache(maxsize=16)
def _memory(device: torch.device) -> float:
    """Bytes of a GPU, without a wait; as many as one likes where there is none."""
    found = device.type == "cuda" and torch.cuda.is_available()
    return torch.cuda.get_device_properties(device).total_memory if found else math.inf


def entries(kind: str, device: torch.device, dtype: torch.dtype) -> int:
    """Return the number of entries of a ``"square"`` tile or of a ``"strip"``, on a small GPU a share of its memory."""
    if device.type != "cuda":
        return BYTES["cpu", kind] // dtype.itemsize
    most = BYTES["cuda", kind]
    if not torch.compiler.is_compiling():
        most = int(min(most, _memory(device) / _SHARE_OF_A_GPU))
    return most // dtype.itemsize


class Tiles:
    """Tiles of an n × m matrix of pairs: each pair is in one tile, and a tile without a pair is left out.

    Iteration gives the rows and columns of each tile as slices. With ``batch`` only nodes of the same graph make a
    pair. The nodes of several tiles are then sorted by graph, so that a block of rows meets the columns of its own
    graphs alone: a kernel passes its inputs through :meth:`sort` and its results through :meth:`unsort`.

    Args:
        shape: n and m. The rows may be a part of the nodes, those of one rank.
        height: largest number of rows of a tile.
        width: largest number of columns.
        symmetric: cover the upper triangle only, by square tiles.
        batch: graph of each node ``(n,)``, for n = m.
    """

    def __init__(
        self, shape: tuple[int, int], height: int, width: int, *, symmetric: bool = False, batch: Tensor | None = None
    ):
        rows, columns = shape
        self.rows, self.height = rows, height
        self.area = min(height, rows) * min(width, columns)
        self.order: Tensor | None = None
        self.batch = batch
        bounds = [(top, min(top + height, rows), 0, columns) for top in range(0, rows, height)]
        # One tile has nothing to leave out, and a GPU would have to wait for the bounds.
        if batch is not None and (rows > height or columns > width):
            self.order = torch.argsort(batch, stable=True)
            self.batch = graph = batch[self.order]
            top = torch.arange(0, rows, height, device=batch.device)
            bottom = (top + height).clamp(max=rows)
            left, right = (
                torch.searchsorted(graph, graph[top]),
                torch.searchsorted(graph, graph[bottom - 1], right=True),
            )
            bounds = torch.stack([top, bottom, left, right], 1).tolist()
        self._tiles = [
            (slice(top, bottom), slice(start, min(start + width, right)))
            for top, bottom, left, right in bounds
            for start in range(top if symmetric else left, right, width)
        ]
        self.blocks = -(-rows // height)
        if symmetric:  # tiles that follow each other have no block in common: threads may share them
            self._tiles.sort(key=lambda tile: sum(self.pair(tile)) % self.blocks)

    def pair(self, tile: tuple[slice, slice]) -> tuple[int, int]:
        """The block of the rows and that of the columns of a tile, where tiles are square."""
        return tile[0].start // self.height, tile[1].start // self.height

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        return iter(self._tiles)

    def __len__(self) -> int:
        return len(self._tiles)

    def sort(self, x: Tensor) -> Tensor:
        """Return the rows of ``x`` in the order of the tiles."""
        return x if self.order is None else x[self.order]

    def unsort(self, x: Tensor) -> Tensor:
        """Return the rows of ``x`` in the order in which the nodes came."""
        return x if self.order is None else torch.empty_like(x).index_copy_(0, self.order, x)

    def mask(self, tile: Tensor, rows: slice, columns: slice, value: float, loops: bool = False) -> Tensor:
        """Overwrite the pairs of different graphs in a tile and, without ``loops``, those of a node with itself."""
        if not loops:
            tile.diagonal(rows.start - columns.start).fill_(value)
        if self.batch is not None:
            tile.masked_fill_(self.batch[rows].unsqueeze(1) != self.batch[columns], value)
        return tile

    def alone(self, rows: slice, columns: slice) -> Tensor:
        """Whether a node is the only one of its graph, ``(r, 1)``, with ``batch``."""
        assert self.batch is not None
        return (self.batch[rows].unsqueeze(1) == self.batch[columns]).sum(1, keepdim=True) == 1


def squares(
    shape: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
    side: int = 0,
    *,
    symmetric: bool = False,
    batch: Tensor | None = None,
) -> Tiles:
    """Plan square tiles of a given side, by default the largest power of two that the memory allows."""
    side = side or 2 ** int(math.log2(entries("square", device, dtype)) / 2)
    return Tiles(shape, side, side, symmetric=symmetric, batch=batch)


def strips(
    shape: tuple[int, int], like: Tensor, chunk: int | None = None, *, batch: Tensor | None = None, tensors: int = 1
) -> Tiles:
    """Plan strips of ``chunk`` whole rows, by default as many as the memory allows a kernel with so many ``tensors``
    of the size, type and device of a strip."""
    rows = chunk or max(1, entries("strip", like.device, like.dtype) // (tensors * max(shape[1], 1)))
    if batch is not None and not chunk and (like.device.type == "cpu" or shape[0] > rows):
        rows = min(rows, _GRAPH_ROWS)
    return Tiles(shape, rows, max(shape[1], 1), batch=batch)
