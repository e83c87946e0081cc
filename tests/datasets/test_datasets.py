"""Reading data sets: the splits of digits, and torchvision's files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets import DATASETS, load_images
from cl_as_gnn.datasets.images import Rows
from cl_as_gnn.errors import ConfigError


def config(root: Path, name: str, **changes: object) -> DataConfig:
    kind = DATASETS[name].Config
    assert issubclass(kind, DataConfig)
    return kind.model_validate({"name": name, "root": root, "validation": 0.2, **changes})


def test_digits_are_split_by_class_and_always_alike() -> None:
    data = load_images(DataConfig(), progress=False)
    again = load_images(DataConfig(), progress=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (1212, 135, 450)
    assert (data.channels, data.image_size, len(data.classes)) == (1, 8, 10)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert int(data.train.images.max()) == 255
    for split, other in ((data.train, again.train), (data.validation, again.validation), (data.test, again.test)):
        assert torch.equal(split.images, other.images)
        counts = torch.bincount(split.labels, minlength=10)
        assert int(counts.max() - counts.min()) <= 0.1 * len(split)
    everything = torch.cat([data.train.images, data.validation.images, data.test.images]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797


def test_digits_ignore_the_global_seed_and_validation_leaves_the_test_set_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - scikit-learn's default source
    one = load_images(DataConfig(validation=0.1))
    np.random.seed(2)  # noqa: NPY002
    two = load_images(DataConfig(validation=0.0))
    assert torch.equal(one.test.images, two.test.images)
    assert len(two.validation) == 0
    assert two.validation.images.shape == (0, 1, 8, 8)


def test_offline_data_set_says_where_its_files_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name, folder in (
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("stl10", "stl10_binary"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_images(config(tmp_path, name=name))
        for part in (f"data.root={tmp_path}", str(tmp_path / folder), "no network"):
            assert part in str(caught.value)


def test_torchvision_arrays_become_channel_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cifar:
        def __init__(self, root: Path, train: bool, download: bool) -> None:
            self.data = np.zeros((40, 32, 32, 3), np.uint8)
            self.data[..., 1] = 9 if train else 5
            self.targets = [0, 1] * 20
            self.classes = ["cat", "dog"]

    class Stl:
        def __init__(self, root: Path, split: str, download: bool) -> None:
            self.data = np.full((40, 3, 96, 96), len(split), np.uint8)
            self.labels = np.array([0, 1] * 20, np.uint8)
            self.classes = ["cat", "dog"]

    monkeypatch.setattr("cl_as_gnn.datasets.torchvision_images.CIFAR10", Cifar)
    monkeypatch.setattr("cl_as_gnn.datasets.torchvision_images.STL10", Stl)
    cifar = load_images(config(tmp_path, name="cifar10"))
    assert cifar.train.images.shape == (32, 3, 32, 32)
    assert cifar.train.images.amax((0, 2, 3)).tolist() == [0, 9, 0]
    assert cifar.test.images.amax((0, 2, 3)).tolist() == [0, 5, 0]
    stl = load_images(config(tmp_path, name="stl10", unlabeled=False))
    assert (stl.image_size, stl.train.labels.dtype) == (96, torch.int64)
    assert (int(stl.train.images.max()), int(stl.test.images.max())) == (5, 4)


def test_the_unlabeled_images_of_stl10_are_read_by_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 96, 96), dtype=np.uint8)
    (tmp_path / "stl10_binary").mkdir()
    for name, part in (("train_X", pixels[:40]), ("unlabeled_X", pixels[40:])):
        part.transpose(0, 1, 3, 2).tofile(tmp_path / "stl10_binary" / f"{name}.bin")  # column by column

    class Stl:
        def __init__(self, root: Path, split: str, download: bool) -> None:
            self.data, self.labels, self.classes = pixels[:40], np.array([0, 1] * 20, np.uint8), ["cat", "dog"]

    monkeypatch.setattr("cl_as_gnn.datasets.torchvision_images.STL10", Stl)
    data = load_images(config(tmp_path, name="stl10"))
    assert isinstance(data.train.images, Rows)
    assert (len(data.train), len(data.validation), len(data.test)) == (42, 8, 40)
    assert data.train.labels[-10:].tolist() == [-1] * 10
    images, aspect = data.train.read(torch.tensor([41, 0, 32]))
    assert np.array_equal(images[0].numpy(), pixels[49])
    assert np.array_equal(images[2].numpy(), pixels[40])
    assert aspect is not None
    assert (aspect == 1).all()
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").write_bytes(b"short")
    with pytest.raises(ConfigError, match="not whole"):
        load_images(config(tmp_path, name="stl10"))


def photographs(folder: Path, count: int, level: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (24, 16), (level + i, 0, 0)).save(folder / f"{i}.png")


def test_a_data_set_of_torchvision_by_its_name(tmp_path: Path) -> None:
    photographs(tmp_path / "eurosat" / "2750" / "Forest", 12, 0)
    photographs(tmp_path / "eurosat" / "2750" / "River", 12, 100)
    data = load_images(config(tmp_path, "torchvision/EuroSAT", validation=0))
    assert data.classes == ("Forest", "River")
    assert (len(data.train), len(data.test), data.image_size) == (18, 6, 64)
    assert torch.equal(data.train.labels, (data.train.images[:, 0, 0, 0] >= 100).long())
    assert data.notes == ("24 images, 2 classes, views of 64 px",)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("torchvision/EuroSat", ("EuroSAT",)),
        ("torchvision/FashionMNIST", ("torchvision/FashionMNIST", "data.root=")),
        ("torchvision/Kitti", ("torchvision/Kitti",)),
    ],
)
def test_a_data_set_that_torchvision_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, parts: tuple[str, ...]
) -> None:
    def offline(*args: object, **settings: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ConfigError) as caught:
        load_images(config(tmp_path, name))
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
