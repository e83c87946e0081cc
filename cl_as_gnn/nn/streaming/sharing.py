"""Tiles shared by the threads of a CPU, each of which computes alone.

The threads of an operator of torch wait for each other at its end, hundreds of times in one pass over all pairs. Where
other work takes a core, each of these waits is as long as that work has the core. Threads that take whole tiles wait
only for tiles that write to the same rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier

import torch

BLOCKS_A_THREAD = 4


def threads_for(blocks: int, device: torch.device) -> int:
    """Return how many threads share the tiles of so many blocks of rows: all of torch on a CPU, or one.

    With fewer blocks a thread, an idle machine computes faster with the threads of each operator.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    shared = blocks >= BLOCKS_A_THREAD * threads and not torch._C._are_functorch_transforms_active()
    return threads if shared else 1


def share_tiles(blocks: Sequence[tuple[int, int]], work: Callable[[int, int], None], threads: int) -> None:
    """Call ``work(tile, thread)`` for every tile; tiles with a common block of rows one after the other, in this order.

    Results are then the same for any number of threads above one, whichever takes which tile.

    Args:
        blocks: the two blocks of rows that each tile writes to.
        work: needs no gradients.
        threads: how many; one is the calling thread, with the threads of each operator of torch.

    Raises:
        Exception: one that ``work`` raises.
    """
    if threads == 1:
        for tile in range(len(blocks)):
            work(tile, 0)
        return
    tiles, before, ends = iter(range(len(blocks))), _before(blocks), [Future[None]() for _ in blocks]
    inference = torch.is_inference_mode_enabled()  # a thread begins without

    def take(thread: int) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            for tile in tiles:
                try:
                    for other in before[tile]:
                        ends[other].result()
                    work(tile, thread)
                    ends[tile].set_result(None)
                except BaseException as error:
                    ends[tile].set_exception(error)

    for running in [_pool(threads).submit(take, thread) for thread in range(threads)]:
        running.result()
    for end in ends:
        end.result()


def _before(blocks: Sequence[tuple[int, int]]) -> list[set[int]]:
    """The last tile before each tile with one of its blocks, for both blocks."""
    last: dict[int, int] = {}
    out = []
    for tile, own in enumerate(blocks):
        out.append({last[block] for block in own if block in last})
        last.update(dict.fromkeys(own, tile))
    return out


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which operators of torch have one thread."""
    number, ready = torch.get_num_threads(), Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread sets the number that all begin with
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "tiles", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(number)  # each call also changes what later threads begin with
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)
