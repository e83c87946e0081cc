"""All pairs through the two Triton kernels, on the cards that they suit; elsewhere the tiles of torch serve.

The environment variable ``CLGNN_PAIRS`` chooses: ``auto`` (default), ``tiles``, or ``triton``, which is an error where
no kernel can run. float64, wide rows, a given size of tiles, transforms of ``torch.func`` and what a compiler traces
go through the tiles in any case.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_as_gnn.nn.checks import check_choice, expects
from cl_as_gnn.nn.streaming.tile_edges import PairEdges

_LOG2_E = math.log2(math.e)
_NEVER = 2**62
_TINY = 2.0**-100
# Factors of features of at most 1 and of weights of at most 1: a share is the sum of two, and float16 ends at 65,504.
_UNIT, _WEIGHT = 2.0**10, 2.0**14


class Launch(NamedTuple):
    """Rows and columns of a block, warps, and how many blocks of columns are on their way."""

    rows: int
    columns: int
    warps: int
    stages: int = 2


# By major compute capability, split and width. Compiled for these cards without a spilled register
# (tests/nn/streaming/test_compiled.py), which larger blocks have.
_AMPERE = {(False, 128): Launch(128, 64, 8), (False, 256): Launch(64, 64, 8), (True, 128): Launch(64, 32, 8)}
_HOPPER = {(False, 128): Launch(128, 128, 8), (False, 256): Launch(64, 64, 8), (True, 128): Launch(64, 64, 4)}
LAUNCHES = {8: _AMPERE, 9: _HOPPER, 10: _HOPPER, 12: _AMPERE}
# Rows are padded to whole blocks of either side.
_BLOCK = 128


def launch_for(major: int, split: bool, width: int) -> Launch | None:
    """How the kernels run rows of a padded width on a card, ``None`` if they do not."""
    known = LAUNCHES.get(major, {})
    return next((launch for (halves, most), launch in known.items() if halves == split and width <= most), None)


def padded(width: int) -> int:
    """The next power of two that a tensor core multiplies."""
    return max(16, 1 << (width - 1).bit_length())


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _major(device: torch.device) -> int:
    """Major compute capability; that of an H100 in Triton's interpreter, 0 where there is no card."""
    if device.type == "cuda" and torch.cuda.is_available() and torch.version.cuda is not None:
        major: int = torch.cuda.get_device_capability(device)[0]
        return major
    return 9 if device.type == "cpu" and _interpreted() else 0


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3


def fused(x: Tensor, half: bool = False, tile: int | None = None) -> bool:
    """Whether the kernels serve all pairs of these rows ``(n, d)``.

    Raises:
        ValueError: ``CLGNN_PAIRS`` is unknown, or ``triton`` where no kernel can run.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    choice = os.environ.get("CLGNN_PAIRS", "auto")
    check_choice("all pairs", ("auto", "tiles", "triton"), CLGNN_PAIRS=choice)
    if choice == "tiles" or (choice == "auto" and x.device.type != "cuda"):
        return False
    major = _major(x.device) if _has_triton() else 0
    if major not in LAUNCHES:
        if choice == "triton":
            cure = "set it to auto or tiles"
            raise expects("all pairs", "CLGNN_PAIRS", "as triton on a card from sm_80 on, with Triton", choice, cure)
        return False
    plain = type(x) in (Tensor, torch.nn.Parameter) and x.dtype == torch.float32
    if not plain or tile or not x.numel():
        return False
    return launch_for(major, not half, padded(x.size(1))) is not None


def start(kernel: Any, grid: tuple[int, int], arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    """Launch a kernel on the device of its first argument."""
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants)


class _Rows(NamedTuple):
    """Rows times a factor as halves in float16, padded."""

    high: Tensor
    low: Tensor | None
    factor: Tensor | float
    size: int
    width: int

    def some(self, index: Tensor) -> _Rows:
        """Some of the rows."""
        count = index.numel()
        high, low = (None if x is None else F.pad(x[index], (0, 0, 0, -count % _BLOCK)) for x in (self.high, self.low))
        assert high is not None
        return _Rows(high, low, self.factor, count, self.width)


def _rows(x: Tensor, half: bool, unit: bool) -> _Rows:
    """``half``: rounded to float16. The factor, a power of two, brings the largest number to about 1,000, so that the
    second half of most is no subnormal number."""
    n, d = x.shape
    factor = _UNIT if unit else _UNIT * (-x.abs().amax().clamp(min=_TINY).log2().ceil()).exp2()
    x = x * factor
    if (more := (padded(d) - d, -n % _BLOCK)) != (0, 0):
        x = F.pad(x, (0, more[0], 0, more[1]))
    high = x.half()
    return _Rows(high, None if half else x.sub_(high).half(), factor, n, d)


_Side = tuple[Tensor, Tensor | None]


def _moderate(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights whose largest is that of float16 shares, and what to multiply the messages by."""
    top = weight.abs().amax().clamp(min=_TINY)
    return weight * (_WEIGHT / top), top


class _Pairs:
    """Pairs of rows and columns, as the kernels read them.

    Args:
        rows: n of them.
        columns: m of them.
        scale: of an inner product, to a logit to base 2.
        node: the column that is each row itself ``(n,)``; ``None`` if there is none.
        graph: of each row and column ``(n,)``, in order, where the rows are the columns.
        edges: rows and columns ``(2, E)`` of pairs to leave out.
    """

    def __init__(
        self,
        rows: _Rows,
        columns: _Rows,
        scale: float,
        node: Tensor | None = None,
        graph: Tensor | None = None,
        edges: Tensor | None = None,
    ):
        device, m = rows.high.device, columns.size
        found = launch_for(_major(device), rows.low is not None, rows.high.size(1))
        assert found is not None
        self.rows, self.columns, self.launch = rows, columns, found
        self.scale = rows.high.new_ones(1, dtype=torch.float32) * (scale / rows.factor / columns.factor)
        self.blocks = -(-rows.size // found.rows)
        self.parts = max(1, min(2 * _processors(device) // self.blocks, -(-m // found.columns)))
        bounds = None
        if graph is not None:
            first = torch.arange(0, m, found.rows, device=device)
            last = (first + found.rows).clamp(max=m) - 1
            ends = torch.searchsorted(graph, graph[first]), torch.searchsorted(graph, graph[last], right=True)
            # From a whole block on, so that no block reads past the padding.
            bounds = torch.stack([ends[0] // found.columns * found.columns, ends[1]], 1).int()
        graph = None if graph is None else graph.int()
        self.masks = (None if node is None else node.int(), graph, graph, bounds, *self._without(edges, bounds))

    def _without(
        self, edges: Tensor | None, bounds: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Edges by block of rows and then by column, and the first one of each program."""
        if edges is None:
            return None, None, None
        (row, column), m, step = edges, self.columns.size, self.launch.columns
        key, order = (row // self.launch.rows * m + column).sort()
        block = torch.arange(self.blocks, device=row.device).unsqueeze(1)
        first, last = (0, m) if bounds is None else bounds.long().unsqueeze(2).unbind(1)
        size = -((first - last) // step // self.parts) * step
        start = block * m + first + torch.arange(self.parts, device=row.device) * size
        return F.pad(key, (0, 1), value=_NEVER), F.pad(row[order], (0, 1)).int(), torch.searchsorted(key, start).int()

    def _run(self, kernel: Any, *rest: Any, plain: bool) -> None:
        inputs = self.rows.high, self.rows.low, self.columns.high, self.columns.low, *self.masks
        sizes = self.rows.size, self.columns.size, self.scale, self.parts
        constants = {
            "D": self.rows.high.size(1),
            "ROWS": self.launch.rows,
            "COLUMNS": self.launch.columns,
            "PLAIN": plain,
            "num_warps": self.launch.warps,
            "num_stages": self.launch.stages,
        }
        start(kernel, (self.blocks, self.parts), (*inputs, *rest, *sizes), constants)

    def sums(self, plain: bool) -> tuple[Tensor, Tensor]:
        """Largest logit of each row, to base 2 (0 if ``plain``, and where a row has none), and the sum of the powers of
        two of the logits relative to it."""
        from cl_as_gnn.nn.streaming.triton_kernels import row_sums

        shape = self.parts, self.rows.size
        total = self.rows.high.new_empty(shape, dtype=torch.float32)
        peak = None if plain else torch.empty_like(total)
        self._run(row_sums, peak, total, plain=plain)
        if peak is None:
            return total.new_zeros(shape[1]), total.sum(0)
        top = peak.amax(0)
        return top, (total * (peak - _finite(top)).exp2()).sum(0)

    def messages(self, row: _Side | None, column: _Side | None, plain: bool) -> Tensor:
        """Messages to the rows ``(n, d)``, of the weights of rows and of columns and the shifts of their logits."""
        from cl_as_gnn.nn.streaming.triton_kernels import messages

        out = self.rows.high.new_empty(self.parts, self.rows.size, self.rows.high.size(1), dtype=torch.float32)
        self._run(messages, *(row or (None, None)), *(column or (None, None)), out, plain=plain)
        summed = out[0] if self.parts == 1 else out.sum(0)
        return summed.div_(_WEIGHT * self.columns.factor)[:, : self.rows.width].contiguous()


def all_pairs(
    x: Tensor,
    row_weight: Tensor,
    batch: Tensor | None,
    temperature: float,
    unit: bool,
    plain: bool,
    half: bool,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`~cl_as_gnn.nn.streaming.softmax_all_pairs` and ``contrast_all_pairs``: log-partitions, messages, and what
    there is along the edges."""
    n = x.size(0)
    order = None if batch is None else batch.argsort(stable=True)
    if order is not None and batch is not None:
        x, row_weight, batch = x[order], row_weight[order], batch[order]
    edges = None
    if edge_index is not None and edge_weight is not None:
        edges = PairEdges(edge_index, edge_weight, n, order, temperature)
    nodes, taken = _rows(x, half, unit), None if edges is None else edges.pairs()
    pairs = _Pairs(nodes, nodes, _LOG2_E / temperature, torch.arange(n, device=x.device), batch, taken)
    peak, total = pairs.sums(plain)
    if edges is not None:
        logit = edges.logits(x, batch)
        joined = edges.add(logit.exp() if plain else logit, total, None if plain else peak / _LOG2_E)
        total, peak = joined[0], peak if joined[1] is None else joined[1] * _LOG2_E
    lse = peak / _LOG2_E + total.log()
    weight, top = _moderate(row_weight)
    side = torch.where(total == 0, 0, weight / total), None if plain else _finite(peak)
    message = pairs.messages(side, side, plain).mul_(top)
    along = x.new_zeros(2, 0) if edges is None else edges.result(x, lse, row_weight)
    if order is not None:
        lse, message = (torch.empty_like(part).index_copy_(0, order, part) for part in (lse, message))
    return lse, message, along


def _finite(peak: Tensor) -> Tensor:
    return peak.masked_fill(peak == -math.inf, 0)


def local_rows(
    x: Tensor,
    own: Tensor,
    join: Callable[[Tensor], Tensor],
    temperature: float,
    weight: Tensor,
    unit: bool,
    plain: bool,
    half: bool,
) -> tuple[Tensor, Tensor]:
    """:func:`~cl_as_gnn.nn.streaming.softmax_local_rows`."""
    nodes = _rows(x, half, unit)
    pairs = _Pairs(nodes.some(own), nodes, _LOG2_E / temperature, own)
    peak, total = pairs.sums(plain)
    lse = join(peak / _LOG2_E + total.log())
    weight, top = _moderate(weight)
    shift, weight = _finite(lse) * _LOG2_E, weight.masked_fill(lse == -math.inf, 0)
    if plain:
        share = weight * (-shift).exp2()
        return lse, pairs.messages((share[own], None), (share, None), plain) * top
    return lse, pairs.messages((weight[own], shift[own]), (weight, shift), plain) * top


def bipartite(query: Tensor, key: Tensor, temperature: float, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`~cl_as_gnn.nn.streaming.softmax_bipartite`."""
    queries, keys, scale = _rows(query, False, False), _rows(key, False, False), _LOG2_E / temperature
    peak, total, to_query = _to_queries(_Pairs(queries, keys, scale))
    to_query *= weight.unsqueeze(1)
    weight, top = _moderate(weight)
    to_key = _Pairs(keys, queries, scale).messages(None, (weight / total, peak), False) * top
    return peak / _LOG2_E + total.log(), to_query, to_key


def over_keys(query: Tensor, key: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """:func:`~cl_as_gnn.nn.streaming.softmax_over_keys`, of the keys of one rank."""
    pairs = _Pairs(_rows(query, False, False), _rows(key, False, False), _LOG2_E / temperature)
    peak, total, to_query = _to_queries(pairs)
    return peak / _LOG2_E + total.log(), to_query


def _to_queries(pairs: _Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """The peak and the sum of each query, and the message to it."""
    peak, total = pairs.sums(False)
    one = torch.full_like(total, _WEIGHT) / total
    return peak, total, pairs.messages((one, peak), None, False)
