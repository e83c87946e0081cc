"""Memory is bounded by the batch: many entries, scores that look at some, features beside the memory."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import evenly
from cl_as_gnn.errors import RunError
from cl_as_gnn.tasks import images, load_task
from cl_as_gnn.tasks.embed import kept_rows, rows
from cl_as_gnn.training.module import prefetched

MB = 2**20


def many(root: Path, count: int, side: int) -> Path:
    """One picture under many names in nested folders."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((side, side))
    root.mkdir()
    picture.save(root / "0.jpg")
    for i in range(1, count):
        folder = root / f"{i % 7}" / f"{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(root / "0.jpg", folder / f"{i:07d}.jpg")
    return root


def memory(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be reset")
@pytest.mark.parametrize("count", [900, pytest.param(20_000, marks=pytest.mark.slow)])
def test_entries_that_are_read_by_the_batch_take_less_than_a_kilobyte_each(tmp_path, count):
    root = many(tmp_path / "many", count, 224)
    config = load_config(None, [f"data.root={root}", "data.image_size=224", "data.memory=0"])
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
    before = memory("VmRSS")
    task = load_task(config, progress=False)
    order = task.order(torch.Generator().manual_seed(0))[: 4 * 16].view(4, 16)
    assert sum(len(index) for index, *_ in prefetched(order, task.read)) == 4 * 16
    assert task.size == count
    assert memory("VmHWM") - before < count * 1024 + 90 * MB, f"decoded, they are {count * 3 * 224**2 / MB:.0f} MB"


def test_without_labels_the_scores_look_at_some_images(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_GEOMETRY_IMAGES", 8)
    root = many(tmp_path / "many", 30, 16)
    task = load_task(load_config(None, [f"data.root={root}", "data.memory=0"]), progress=False)
    encoder, device = task.encoder(), torch.device("cpu")
    every, some = task.features(encoder, device)["train"], task.features(encoder, device, scored=True)["train"]
    assert len(every) == 30
    torch.testing.assert_close(some, every[evenly(8, 30)])


def test_features_above_the_memory_are_in_a_file_that_goes_with_them(tmp_path):
    x, expected = rows(10_000, 8, 0.0, tmp_path), torch.arange(80_000.0).view(-1, 8)
    x[:] = expected
    assert not list(tmp_path.iterdir()), "also after a kill"
    at = torch.arange(0, 10_000, 3)
    assert torch.equal(kept_rows(x, at), expected[at])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(RunError, match=r"0\.0 GB of features do not fit in .*File too large"):
            rows(10_000, 8, 0.0, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
