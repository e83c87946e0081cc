"""Folders of flat images, and what loading them gives."""

from pathlib import Path

import pytest
from PIL import Image

from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.folder import FolderConfig


@pytest.fixture(scope="session")
def write():
    """Flat images, number i of the gray level ``start + i``."""

    def images(path: Path, count: int, size=(8, 8), start=0, mode="RGB"):
        path.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            level = start + i
            Image.new(mode, size, (level, level, level) if mode == "RGB" else level).save(path / f"{i:03d}.png")

    return images


@pytest.fixture
def root(tmp_path, write):
    """Two classes with 10 training and 3 test images each, every image of a level of its own."""
    for c, name in enumerate(("cat", "dog")):
        write(tmp_path / "train" / name, 10, start=100 * c)
        write(tmp_path / "test" / name, 3, start=100 * c + 50)
    return tmp_path


@pytest.fixture(scope="session")
def config():
    return lambda root, **changes: FolderConfig.model_validate({"root": root, "validation": 0.2, **changes})


@pytest.fixture(scope="session")
def fails():
    """Loading a config raises an error of one line, with these parts in it."""

    def check(kind, wanted, *parts):
        with pytest.raises(kind) as caught:
            load_images(wanted, progress=False)
        assert "\n" not in str(caught.value)
        for part in parts:
            assert part in str(caught.value)

    return check
