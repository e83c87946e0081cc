"""Threads that share tiles compute what one computes, and end together."""

import os
import threading
import time
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.nn.streaming import all_pairs
from cl_as_gnn.nn.streaming.sharing import share_tiles, threads_for
from cl_as_gnn.nn.streaming.tiles import Tiles, squares

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    """Sets the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def pass_over(graphs=False, edges=False, unit=True, dtype=torch.double, bf16=False):
    """All pairs of 200 nodes in 13 blocks of 16 rows."""
    torch.manual_seed(0)
    x = F.normalize(torch.randn(200, 5, dtype=dtype), dim=1)
    batch = torch.arange(200) % 2 if graphs else None
    pair = torch.stack([torch.arange(200), torch.arange(200).roll(100)])
    given = (pair, torch.rand(200, dtype=dtype)) if edges else (None, None)
    return all_pairs._softmax_all_pairs(x, torch.rand(200, dtype=dtype), batch, 0.3, unit, bf16, 16, *given)


@pytest.mark.parametrize(
    "case", [{}, {"unit": False}, {"graphs": True}, {"edges": True, "unit": False}, {"edges": True, "graphs": True}]
)
def test_threads_compute_what_one_computes(case, threads, monkeypatch):
    threads(1)
    expected = pass_over(**case)
    seen = meet_at_first_tile(2, monkeypatch)
    threads(2)
    for value, one in zip(pass_over(**case), expected, strict=True):
        torch.testing.assert_close(value, one, atol=1e-12, rtol=1e-12)
    assert len(seen) == 2


def meet_at_first_tile(count, monkeypatch):
    """The set of the threads that compute tiles from now on, each of which waits at its first one for the others."""
    seen, whole, meeting = set(), Tiles.mask, threading.Barrier(count, timeout=60)

    def mask(*values, **named):
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            meeting.wait()
        return whole(*values, **named)

    monkeypatch.setattr(Tiles, "mask", mask)
    return seen


@pytest.mark.parametrize("bf16", [False, True])
def test_results_do_not_depend_on_how_many_threads_share(bf16, threads):
    found = []
    for count in (2, 3, 2):
        threads(count)
        found.append(pass_over(dtype=torch.float32, bf16=bf16))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_threads_share_in_inference_mode(threads):
    threads(2)
    with torch.inference_mode():
        lse, message, _ = pass_over()
    assert lse.is_inference()
    assert torch.equal(message, pass_over()[1])


def test_tiles_that_follow_each_other_have_no_block_in_common():
    for n in (112, 200, 224):
        tiles = squares((n, n), CPU, torch.float32, 16, symmetric=True)
        pairs = [tiles.pair(tile) for tile in tiles]
        blocks = -(-n // 16)
        assert sorted(pairs) == [(a, b) for a in range(blocks) for b in range(a, blocks)]
        shared = sum(bool({*one} & {*two}) for one, two in pairwise(pairs))
        assert shared <= blocks // 2  # at the end of a sweep over all blocks


def test_tiles_with_a_common_block_keep_their_order(threads):
    threads(3)
    blocks = [(0, 1), (2, 3), (0, 2), (1, 3), (0, 0), (1, 2), (3, 3)] * 20
    running, order, lock = set(), [], threading.Lock()

    def work(tile, thread):
        with lock:
            assert not running & {*blocks[tile]}
            running.update(blocks[tile])
            order.append(tile)
        time.sleep(0.0002)
        with lock:
            running.difference_update(blocks[tile])

    share_tiles(blocks, work, 3)
    for block in range(4):
        mine = [tile for tile in order if block in blocks[tile]]
        assert mine == sorted(mine)
    assert len(order) == len(blocks)


def test_tiles_without_a_common_block_run_at_once(threads):
    threads(3)
    meeting = threading.Barrier(3, timeout=60)
    share_tiles([(0, 1), (2, 3), (4, 4)], lambda tile, thread: meeting.wait(), 3)


def test_threads_share_only_where_each_has_blocks(threads):
    threads(2)
    assert [threads_for(blocks, CPU) for blocks in (1, 7, 8, 100)] == [1, 1, 2, 2]
    assert threads_for(100, torch.device("cuda")) == 1


def test_the_error_of_a_thread_ends_all(threads):
    threads(2)

    def fails(tile, thread):
        if tile == 2:
            raise ZeroDivisionError

    blocks = [(0, 1), (2, 3), (1, 2), (0, 3)]
    with pytest.raises(ZeroDivisionError):
        share_tiles(blocks, fails, 2)
    done = []
    share_tiles(blocks, lambda tile, thread: done.append(tile), 2)
    assert sorted(done) == [0, 1, 2, 3]


def test_operators_keep_their_threads(threads):
    threads(3)
    found = []
    share_tiles([(i, i) for i in range(6)], lambda tile, thread: found.append(torch.get_num_threads()), 3)
    assert found == [1] * 6
    assert torch.get_num_threads() == 3
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [3]


def test_a_forked_process_has_threads_of_its_own(threads):
    threads(2)
    pass_over()
    child = os.fork()
    if not child:
        done = []
        share_tiles([(i, i) for i in range(4)], lambda tile, thread: done.append(tile), 2)
        os._exit(0 if len(done) == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
