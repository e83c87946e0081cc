"""Every pair is in exactly one tile, and no tile is without a pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cl_as_gnn.nn.streaming import tiles
from cl_as_gnn.nn.streaming.tiles import Tiles, squares, strips

SIZES, SIDES = st.integers(0, 20), st.integers(1, 8)


def visits(plan, rows, columns, symmetric=False):
    """How often the tiles visit each pair, with the mirror image of the upper triangle."""
    count = torch.zeros(rows, columns, dtype=torch.long)
    for top, left in plan:
        assert top.stop > top.start
        assert left.stop > left.start
        assert (top.stop - top.start) * (left.stop - left.start) <= plan.area
        count[top, left] += 1
        if symmetric and top != left:
            count[left, top] += 1
    return count


@given(rows=SIZES, columns=SIZES, height=SIDES, width=SIDES)
def test_rows_and_columns_are_covered_once(rows, columns, height, width):
    assert (visits(Tiles((rows, columns), height, width), rows, columns) == 1).all()


@given(n=SIZES, side=SIDES)
def test_the_triangle_and_its_mirror_image_are_covered_once(n, side):
    assert (visits(Tiles((n, n), side, side, symmetric=True), n, n, symmetric=True) == 1).all()


@given(graph=st.lists(st.integers(0, 4), max_size=20), height=SIDES, width=SIDES, symmetric=st.booleans())
def test_pairs_of_one_graph_are_covered_once(graph, height, width, symmetric):
    """Nodes come unsorted; masked tiles hold each pair of a graph once and no other."""
    n, width = len(graph), height if symmetric else width
    batch = torch.tensor(graph, dtype=torch.long)
    plan = Tiles((n, n), height, width, symmetric=symmetric, batch=batch)
    count = visits(plan, n, n, symmetric)
    seen = torch.zeros(n, n)
    for top, left in plan:
        tile = plan.mask(torch.ones(top.stop - top.start, left.stop - left.start), top, left, 0, loops=True)
        assert tile.any()
        seen[top, left] += tile
        if symmetric and top != left:
            seen[left, top] += tile.t()
    order = plan.sort(torch.arange(n))
    assert (count <= 1).all()
    assert torch.equal(seen, (batch[order].unsqueeze(1) == batch[order]).float())
    assert plan.unsort(order).tolist() == list(range(n))


def test_small_graphs_share_strips_and_large_ones_have_several(monkeypatch):
    batch = torch.repeat_interleave(torch.arange(7), torch.tensor([1, 3, 0, 17, 2, 1, 6]))[torch.randperm(30)]
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 5 * 30)
    plan = strips((30, 30), torch.empty(0, dtype=torch.double), batch=batch)
    assert len(plan) == 6
    assert visits(plan, 30, 30).sum() < 30 * 30 * 0.7


def test_within_one_tile_nodes_keep_their_order():
    batch = torch.tensor([1, 0, 1])
    plan = strips((3, 3), torch.empty(0), batch=batch)
    assert list(plan) == [(slice(0, 3), slice(0, 3))]
    assert plan.order is None
    assert plan.mask(torch.ones(3, 3), slice(0, 3), slice(0, 3), 0).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_the_mask_hits_the_diagonal_wherever_a_tile_lies():
    plan, full = Tiles((7, 7), 2, 3), torch.ones(7, 7)
    for rows, columns in plan:
        plan.mask(full[rows, columns], rows, columns, 0)
    assert torch.equal(full, 1 - torch.eye(7))


@pytest.mark.parametrize(
    ("device", "dtype", "side"),
    [
        ("cpu", torch.float32, 512),
        ("cpu", torch.float64, 512),
        ("cpu", torch.bfloat16, 1024),
        ("cuda", torch.float32, 8192),
        ("cuda", torch.bfloat16, 8192),
        ("mps", torch.float32, 512),
    ],
)
def test_sides_come_from_the_memory_of_a_tile(device, dtype, side):
    assert squares((10**5, 10**5), torch.device(device), dtype).area == side**2


def test_a_small_gpu_gives_a_share_of_its_memory(monkeypatch):
    monkeypatch.setattr(tiles, "_memory", lambda device: 2.0**33)
    assert tiles.entries("strip", torch.device("cuda"), torch.float32) == 2**26
    assert tiles.entries("square", torch.device("cuda"), torch.float32) == 2**26


def test_strips_fill_their_memory_and_never_have_no_row():
    like = torch.empty(0)
    assert strips((10**6, 2**12), like).area == 2**22
    assert strips((10**6, 2**12), like, tensors=2).area == 2**21
    assert strips((10**6, 2**12), like, 7).area == 7 * 2**12
    assert strips((3, 2**23), like).area == 2**23
