"""Runs on images: labels that are missing, names in exported features, raw pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from cl_as_gnn.runs.load import export_features
from cl_as_gnn.tasks.floors import raw_pixels
from cl_as_gnn.training.fit import train


@pytest.fixture
def photos(tmp_path):
    """Two classes of 12 training and 4 test images, and 8 images without labels."""
    random = np.random.default_rng(0)
    for folder, count, top in (
        *(("train/dark", 12, 128), ("train/light", 12, 256), ("test/dark", 4, 128), ("test/light", 4, 256)),
        ("unlabeled/more", 8, 256),
    ):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(top - 128, top, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{i:02d}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("method", ["gcn", "supcon"])
def test_images_without_labels_are_trained_on_and_not_scored(tmp_path, photos, configure, method):
    words = ("data.name=folder", f"data.root={photos}", f"method.name={method}", "eval.baselines=true")
    metrics = train(configure(tmp_path / "run", *words, "trainer.batch_size=16"))
    assert "8 images of the test split with the 24 training images as bank" in metrics["protocol"]
    assert "trained on 8 more without labels" in metrics["protocol"]
    assert metrics["knn_top1"] >= 50
    assert metrics["baselines"]["raw pixels"]["knn_top1"] >= 50
    export_features(tmp_path / "run", tmp_path / "out.npz", Console(quiet=True))
    with np.load(tmp_path / "out.npz") as out:
        assert out["classes"].tolist() == ["dark", "light"]
        assert len(out["train"]) == len(out["train_files"]) == 32
        for label, file in zip(out["train_labels"], out["train_files"], strict=True):
            assert file.split("/")[1] == (["dark", "light"][label] if label >= 0 else "more")


def test_raw_pixels_of_large_images_are_averaged():
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = images.float().unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5)).flatten(1) / 255
    torch.testing.assert_close(raw_pixels([images]), expected)
    assert torch.equal(raw_pixels([images[..., :8, :8]]), images[..., :8, :8].flatten(1).float() / 255)
