"""A folder of images: layouts, labels, decoding, and the one line a user gets for each mistake."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.images import ImageData
from cl_as_gnn.errors import ConfigError


def test_split_seed_draws_other_splits_of_the_same_images(root: Path, config) -> None:
    first, second = (load_images(DataConfig(split_seed=seed), progress=False) for seed in (0, 1))
    for part in ("train", "validation", "test"):
        one, other = getattr(first, part), getattr(second, part)
        assert len(one) == len(other)
        assert not torch.equal(one.images, other.images)
        assert torch.bincount(one.labels, minlength=10).sub(torch.bincount(other.labels, minlength=10)).abs().max() <= 1
    folders = [load_images(config(root, split_seed=seed), progress=False) for seed in range(6)]
    assert len({tuple(data.validation.images.flatten().tolist()) for data in folders}) > 1
    assert len({tuple(data.test.images.flatten().tolist()) for data in folders}) == 1, "a test folder is the test set"


def test_pooled_joins_training_and_validation(root: Path, config) -> None:
    data = load_images(config(root), progress=False)
    pooled = data.pooled()
    assert (len(data.train), len(data.validation), len(pooled.train), len(pooled.validation)) == (16, 4, 20, 0)
    assert set(pooled.train.images[:, 0, 0, 0].tolist()) == set(range(10)) | set(range(100, 110))
    assert torch.equal(pooled.train.labels, (pooled.train.images[:, 0, 0, 0] >= 100).long())
    assert torch.equal(pooled.test.images, data.test.images)


def test_folder_keeps_each_image_with_its_label_and_its_split(root: Path, config) -> None:
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"\0")
    (root / "train" / "cat" / ".hidden.png").write_bytes(b"\0")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "readme.md").write_text("no class")
    data = load_images(config(root), progress=False)
    assert data.classes == ("cat", "dog")
    assert (data.channels, data.image_size) == (3, 8)
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 100).long())
    assert torch.bincount(data.validation.labels).tolist() == [2, 2]
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == [50, 51, 52, 150, 151, 152]
    levels = [set(split.images[:, 0, 0, 0].tolist()) for split in (data.train, data.validation)]
    assert not levels[0] & levels[1]


def test_folder_without_test_keeps_a_quarter_of_each_class(tmp_path: Path, write, config) -> None:
    write(tmp_path / "cat", 40)
    write(tmp_path / "dog", 40, start=100)
    data = load_images(config(tmp_path), progress=False)
    assert torch.bincount(data.test.labels).tolist() == [10, 10]
    assert torch.bincount(data.validation.labels).tolist() == [6, 6]
    again = load_images(config(tmp_path), progress=False)
    assert torch.equal(data.test.images, again.test.images)


def test_missing_root_and_folder(tmp_path: Path, config, fails) -> None:
    fails(ConfigError, config(None), "data.root=")
    fails(ConfigError, config(tmp_path / "nowhere"), "nowhere", "no folder")
    (tmp_path / "void").mkdir()
    fails(ConfigError, config(tmp_path / "void"), "holds no images")


def unlabeled(data: ImageData, count: int) -> bool:
    """Whether all images are training images without a label."""
    return (data.classes, len(data.train), len(data.validation), len(data.test)) == ((), count, 0, 0) and bool(
        (data.train.labels == -1).all()
    )


def test_a_folder_without_class_folders_has_no_labels(tmp_path: Path, write, config) -> None:
    write(tmp_path, 6)
    assert unlabeled(load_images(config(tmp_path)), 6)
    write(tmp_path / "deep" / "down", 4)
    data = load_images(config(tmp_path))
    assert unlabeled(data, 10)
    assert data.train.files[-1] == "deep/down/003.png"
    assert data.notes == ("10 images, no labels, views of 8 px",)


def test_one_class_folder_is_read_without_labels(tmp_path: Path, write, config) -> None:
    write(tmp_path / "cat", 4)
    data = load_images(config(tmp_path))
    assert unlabeled(data, 4)
    assert "one class ('cat') only" in data.notes[1]


def test_class_folders_may_be_deep_and_may_be_ignored(tmp_path: Path, write, config) -> None:
    for c, name in enumerate(("cat", "dog")):
        write(tmp_path / name / "2024" / "may", 8, start=100 * c)
    data = load_images(config(tmp_path, validation=0))
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 12, 4)
    assert data.notes == ("16 images, 2 classes (folders), views of 8 px",)
    assert unlabeled(load_images(config(tmp_path, labels="none")), 16)


def test_images_beside_class_folders_are_named(tmp_path: Path, write, config, fails) -> None:
    write(tmp_path, 1)
    write(tmp_path / "cat", 4)
    write(tmp_path / "dog", 4)
    fails(ConfigError, config(tmp_path, labels="folders"), "000.png", "data.labels=none")
    assert unlabeled(load_images(config(tmp_path)), 9)


def table(root: Path, *rows: str, head: str = "file,label") -> None:
    (root / "labels.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")


def test_labels_come_from_a_table(tmp_path: Path, write, config) -> None:
    write(tmp_path / "all", 40)
    table(tmp_path, *[f"all/{i:03d}.png,{'even' if i % 2 == 0 else 'odd'}" for i in range(32)], "all/035.png,")
    data = load_images(config(tmp_path, validation=0))
    assert (data.classes, len(data.train), len(data.test)) == (("even", "odd"), 32, 8)
    assert int((data.train.labels == -1).sum()) == 8
    for split in (data.train, data.test):
        known = split.labels >= 0
        assert torch.equal(split.labels[known], split.images[known, 0, 0, 0].long() % 2)
    assert data.notes == ("40 images, 2 classes (labels.csv), views of 8 px",)


@pytest.mark.parametrize(
    ("rows", "head", "parts"),
    [
        (["a/000.png,x"], "name,label", ("columns ['name', 'label']", "file and label")),
        (["a/000.png,x", "a/000.png,y"], "file,label", ("two labels", "'x' and 'y'")),
        (["b/000.png,x", "c.png,y"], "file,label", ("'b/000.png'", "2 such rows")),
    ],
)
def test_mistakes_in_the_table(
    tmp_path: Path, rows: list[str], head: str, parts: tuple[str, ...], write, config, fails
) -> None:
    write(tmp_path / "a", 3)
    table(tmp_path, *rows, head=head)
    fails(ConfigError, config(tmp_path), "labels.csv", *parts)


def test_a_table_that_cannot_be_read(tmp_path: Path, write, config, fails) -> None:
    write(tmp_path, 3)
    fails(ConfigError, config(tmp_path, labels="csv"), "labels.csv", "cannot be read")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00file")
    fails(ConfigError, config(tmp_path), "labels.csv", "cannot be read")


def test_an_empty_label_column_is_no_labels(tmp_path: Path, write, config) -> None:
    write(tmp_path, 3)
    table(tmp_path, "000.png,", "001.png,")
    assert unlabeled(load_images(config(tmp_path)), 3)


def test_too_few_labels_for_a_test_set_are_kept_and_nothing_is_scored(tmp_path: Path, write, config) -> None:
    write(tmp_path, 9)
    table(tmp_path, "000.png,a", "001.png,b", "002.png,c")
    data = load_images(config(tmp_path))
    assert (len(data.train), len(data.test), data.classes) == (9, 0, ("a", "b", "c"))
    assert "nothing is scored" in data.notes[1]


def test_class_that_only_the_test_set_has(root: Path, write, config, fails) -> None:
    write(root / "test" / "emu", 2)
    fails(ConfigError, config(root), "emu", "train/ lacks")


def test_half_a_layout(tmp_path: Path, write, config, fails) -> None:
    write(tmp_path / "test" / "cat", 4)
    fails(ConfigError, config(tmp_path), "test/", "no train/")


def test_a_missing_test_folder_is_drawn_from_train(tmp_path: Path, write, config) -> None:
    for name, start in (("cat", 0), ("dog", 100)):
        write(tmp_path / "train" / name, 40, start=start)
    data = load_images(config(tmp_path), progress=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 12, 20)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_validation_folder_is_the_validation_set(root: Path, name: str, write, config, fails) -> None:
    for kind, start in (("cat", 0), ("dog", 100)):
        write(root / name / kind, 2, start=start + 70)
    data = load_images(config(root), progress=False)
    assert data.validation.images[:, 0, 0, 0].tolist() == [70, 71, 170, 171]
    assert (len(data.train), len(data.pooled().train), len(data.pooled().validation)) == (20, 24, 0)
    write(root / "val" / "emu", 2)
    (root / "validation").mkdir(exist_ok=True)
    fails(ConfigError, config(root), "validation/ and val/", "join them")


def test_unlabeled_images_join_the_training_images(root: Path, write, config) -> None:
    write(root / "unlabelled" / "deep" / "down", 5, start=200)
    data = load_images(config(root), progress=False)
    assert data.classes == ("cat", "dog")
    assert torch.bincount(data.train.labels + 1).tolist() == [5, 8, 8]
    assert data.train.labels[-5:].tolist() == 5 * [-1]
    assert data.train.images[-5:, 0, 0, 0].tolist() == [200, 201, 202, 203, 204]
    assert data.train.files[-1] == "unlabelled/deep/down/004.png"
    assert (data.validation.labels >= 0).all()


def test_each_image_keeps_its_file(root: Path, config) -> None:
    data = load_images(config(root), progress=False)
    for split in (data.train, data.validation, data.test, data.pooled().train):
        assert len(split.files) == len(split)
        for file, pixels in zip(split.files, split.images, strict=True):
            assert np.asarray(Image.open(root / file))[0, 0, 0] == pixels[0, 0, 0]


def test_classes_too_small_for_validation_images(root: Path, config) -> None:
    data = load_images(config(root, validation=0.05), progress=False)
    assert (len(data.train), len(data.validation)) == (20, 0)
    assert "no validation images" in data.notes[1]
