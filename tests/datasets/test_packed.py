"""Packed folders: filling, resuming, sharing, and the one line for each way in which one does not fit."""

import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.datasets import load_images, packed
from cl_as_gnn.datasets.images import Catalog
from cl_as_gnn.datasets.packed import ASPECT, INDEX, PIXELS, Index, cached, open_packed
from cl_as_gnn.datasets.store import FileStore
from cl_as_gnn.errors import ConfigError, RunError

COUNT = 40


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """40 pictures of many sizes, number 7 broken."""
    random = np.random.default_rng(0)
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(COUNT):
        size = tuple(int(side) for side in random.integers(8, 40, 2))
        Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size).save(root / f"{i:02d}.png")
    (root / "07.png").write_bytes(b"no image")
    return root


def opened(root: Path, cache: Path, side: int = 16):
    names = sorted(path.name for path in root.iterdir())
    store = FileStore(root, names, max_broken=0.1)
    store.keep(side)
    none = Catalog({"train": len(names)}, torch.full((len(names),), -1), (), "no labels")
    return cached(store, none, side // 2, cache, root)


ROWS = torch.arange(COUNT)


def test_a_cache_reads_what_was_decoded_and_decodes_each_image_once(pictures, tmp_path):
    store = opened(pictures, tmp_path / "cache")
    expected = store.source.fetch(ROWS)
    part = torch.tensor([30, 3, 30, 7, 11])
    assert torch.equal(store.fetch(part)[0], expected[0][part])
    assert len(store.missing) == COUNT - 5, "the image after a broken one stands for it"
    store.fetch(ROWS)
    again = opened(pictures, tmp_path / "cache")
    assert not len(again.missing)
    again.source.open = None
    for one, other in zip(again.fetch(ROWS), expected, strict=True):
        assert torch.equal(one, other)
    assert again.broken.keys() == {7}
    assert "cannot identify" in again.broken[7]


def test_a_pack_that_was_killed_ends_with_the_same_bytes(pictures, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    opened(pictures, whole).decode(ROWS)
    child = os.fork()
    if child == 0:
        write, writes = packed._write, iter(range(20))
        packed._write = lambda *args: (
            os.kill(os.getpid(), signal.SIGKILL) if next(writes, None) is None else write(*args)
        )
        store = opened(pictures, part)
        for rows in ROWS.split(8):
            store.decode(rows)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    store = opened(pictures, part)
    assert 0 < len(store.missing) < COUNT
    store.decode(ROWS)
    for name in (PIXELS, ASPECT):
        assert (whole / name).read_bytes() == (part / name).read_bytes()


def test_ranks_share_a_cache(pictures, tmp_path):
    first, second = (opened(pictures, tmp_path / "cache") for _ in range(2))
    one, two = first.fetch(ROWS), second.fetch(ROWS)
    assert all(map(torch.equal, one, two))
    assert first.broken == second.broken
    third = opened(pictures, tmp_path / "other")
    fourth = opened(pictures, tmp_path / "other")
    third.fetch(ROWS[:20])
    assert torch.equal(fourth.fetch(ROWS[:25])[0], one[0][:25])
    assert len(third.missing) == COUNT - 25


def test_a_cache_that_does_not_fit_says_what_has_changed(pictures, tmp_path):
    cache = tmp_path / "cache"
    opened(pictures, cache)
    with pytest.raises(ConfigError, match=r"squares of 16 px, and this run reads 8 px; remove .*cache"):
        opened(pictures, cache, 8)
    moved = pictures.rename(tmp_path / "moved")
    assert len(opened(moved, cache)) == COUNT
    os.utime(moved / "05.png", (1, 1))
    with pytest.raises(ConfigError, match=r"05\.png has changed since"):
        opened(moved, cache)
    (moved / "05.png").rename(moved / "50.png")
    with pytest.raises(ConfigError, match=r"05\.png has gone"):
        opened(moved, cache)
    shutil.copy(moved / "50.png", moved / "05.png")
    with pytest.raises(ConfigError, match=r"50\.png is new"):
        opened(moved, cache)
    with pytest.raises(ConfigError, match="holds other files"):
        opened(moved, moved)


def test_a_packed_folder_that_is_damaged_is_one_line(pictures, tmp_path, config, fails):
    cache = tmp_path / "cache"
    opened(pictures, cache).decode(ROWS[:9])
    index = (cache / INDEX).read_bytes()
    store, _ = open_packed(cache, 0.1)
    store.decode(ROWS[:9])
    with pytest.raises(
        ConfigError, match=r"lacks 31 of its 40 images: finish it with clgnn pack data\.root=.*pictures"
    ):
        store.decode(ROWS)
    fails(ConfigError, config(cache, image_size=20), "packed for data.image_size=8")
    (cache / INDEX).unlink()
    with pytest.raises(ConfigError, match="lost its index"):
        opened(pictures, cache)
    (cache / INDEX).write_bytes(index[:200])
    fails(ConfigError, config(cache), "no packed folder", "pack again")
    (cache / INDEX).write_bytes(index)
    os.truncate(cache / PIXELS, 1000)
    fails(ConfigError, config(cache), "pixels.u8 is not whole")
    fails(ConfigError, config(cache, cache=tmp_path / "more"), "no packed folder")


def test_labels_that_changed_are_taken_over_without_decoding(tmp_path, root, config):
    cache = tmp_path / "cache"
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    load_images(config(root, cache=cache), progress=False)
    (root / "labels.csv").write_text("file,label\n" + "".join(f"{f},{'ab'['3' in f]}\n" for f in files))
    before = (cache / PIXELS).stat().st_mtime_ns
    assert load_images(config(root, cache=cache), progress=False).classes == ("a", "b")
    assert load_images(config(cache), progress=False).classes == ("a", "b")
    assert not load_images(config(cache, labels="none"), progress=False).classes
    assert (cache / PIXELS).stat().st_mtime_ns == before
    assert Index.read(cache).header.source == "labels.csv"


def test_a_full_disk_is_one_line_and_what_is_packed_stays(pictures, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = opened(pictures, tmp_path / "kept")
    kept.decode(ROWS[:9])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # refused beyond, as by a full disk
        with pytest.raises(ConfigError, match=r"cannot write in .*cache: File too large"):
            opened(pictures, tmp_path / "cache")
        with pytest.raises(RunError, match=r"cannot write in .*kept: File too large; what is packed is kept"):
            kept.decode(ROWS[30:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "cache" / PIXELS).exists()
    kept.decode(ROWS)
    assert not len(kept.missing)


def test_no_room_is_told_before_anything_is_written(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(ConfigError, match=r"takes 0\.0 GB, and 0\.0 GB are free: name a folder on another disk"):
        opened(pictures, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
