"""The user's cache folder: decoded images and scores without training, kept from command to command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.datasets import kept, load_images
from cl_as_gnn.datasets.folder import FolderConfig
from cl_as_gnn.datasets.kept import kept_scores
from cl_as_gnn.datasets.photos import read_images
from cl_as_gnn.datasets.store import FileStore
from cl_as_gnn.errors import ConfigError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """12 pictures of two classes."""
    random = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def decoded(monkeypatch):
    """How many images have been decoded."""
    rows = []
    decode = FileStore._part
    monkeypatch.setattr(FileStore, "_part", lambda self, part: (rows.extend(part), decode(self, part))[1])
    return rows


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(kept, "LEAST", 10)
    monkeypatch.setenv("CLGNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(root: Path):
    return load_images(FolderConfig(root=root), progress=False)


def test_images_are_decoded_once_and_changed_ones_anew(pictures, decoded, place):
    first = read(pictures)
    assert (len(decoded), str(place) in first.notes[0]) == (12, True)
    again = read(pictures)
    assert len(decoded) == 12
    assert "12 images are decoded in" in again.notes[0]
    assert torch.equal(first.train.images, again.train.images)
    changed = pictures / "a" / "00.png"
    Image.new("RGB", (8, 8)).save(changed)
    new = read(pictures)
    both = torch.cat([split.images for split in (new.train, new.validation, new.test)])
    assert len(decoded) == 24
    assert (both.flatten(1).sum(1) == 0).sum() == 1
    assert str(place) in new.notes[0]


def test_other_images_and_other_labels_share_what_is_kept(pictures, decoded, place):
    one = read_images(pictures, 3, 8).images.store.fetch(torch.arange(12))[0]
    two = read_images(pictures, 3, 8).images.store.fetch(torch.arange(12))[0]
    assert (len(decoded), torch.equal(one, two)) == (12, True)
    assert len(load_images(FolderConfig(root=pictures, labels="none"), progress=False).train) == 12


@pytest.mark.parametrize("setting", [("CLGNN_CACHE", "none"), ("CLGNN_CACHE_GB", "0"), ("CLGNN_CACHE", "/proc/none")])
def test_nothing_is_kept_where_it_cannot_or_must_not_be(pictures, decoded, place, monkeypatch, setting):
    monkeypatch.setenv(*setting)
    read(pictures)
    read(pictures)
    assert (len(decoded), place.exists()) == (24, False)


def test_what_was_used_longest_ago_makes_room_unless_it_is_in_use(pictures, place, monkeypatch, tmp_path):
    monkeypatch.setenv("CLGNN_CACHE_GB", str(1.5 * 12 * 3 * 8 * 8 / 1e9))  # room for one
    held = read_images(pictures, 3, 8).images.store
    shutil.copytree(pictures, tmp_path / "other")
    assert isinstance(read_images(tmp_path / "other", 3, 8).images.store, FileStore)
    assert held.fetch(torch.arange(12))[0].any()
    held.close()
    found = read_images(tmp_path / "other", 3, 8).images.store
    assert [folder.name for folder in (place / "images").iterdir()] == [found.folder.name]


def test_a_bound_that_is_no_number_is_one_line(pictures, place, monkeypatch):
    monkeypatch.setenv("CLGNN_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="CLGNN_CACHE_GB=much is no number of GB"):
        read(pictures)


def test_scores_without_training_are_computed_once(place, monkeypatch):
    calls = []

    def compute():
        calls.append(1)
        return {"raw pixels": {"knn_top1": 10.5, "label1_top1": None}}

    for what in ({"seed": 0}, {"seed": 0}, {"seed": 1}):
        assert kept_scores(what, compute) == {"raw pixels": {"knn_top1": 10.5, "label1_top1": None}}
    assert len(calls) == 2
    for path in (place / "scores").iterdir():
        path.write_text("{")
    kept_scores({"seed": 0}, compute)
    assert len(calls) == 3
    monkeypatch.setenv("CLGNN_CACHE", "none")
    kept_scores({"seed": 0}, compute)
    assert len(calls) == 4
