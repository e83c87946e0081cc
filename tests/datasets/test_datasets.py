"""Reading data sets: splits, decoding, and the one line a user gets for each mistake."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import DataConfig
from cl_as_gnn.datasets import load_images, read_images
from cl_as_gnn.datasets.folder import FolderConfig
from cl_as_gnn.datasets.images import ImageData, Rows
from cl_as_gnn.errors import ConfigError, RunError


def write(path: Path, count: int, size: tuple[int, int] = (8, 8), start: int = 0, mode: str = "RGB") -> None:
    """Flat images, number i of the gray level ``start + i``."""
    path.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        level = start + i
        Image.new(mode, size, (level, level, level) if mode == "RGB" else level).save(path / f"{i:03d}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with 10 training and 3 test images each, every image of a level of its own."""
    for c, name in enumerate(("cat", "dog")):
        write(tmp_path / "train" / name, 10, start=100 * c)
        write(tmp_path / "test" / name, 3, start=100 * c + 50)
    return tmp_path


def config(root: Path | None, **changes: object) -> DataConfig:
    kind = FolderConfig if changes.get("name", "folder") == "folder" else DataConfig
    return kind.model_validate({"name": "folder", "root": root, "validation": 0.2, **changes})


def fails(kind: type[Exception], wanted: DataConfig, *parts: str) -> None:
    with pytest.raises(kind) as caught:
        load_images(wanted, progress=False)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


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


def test_images_of_a_folder_are_read_through_links_and_whole(root: Path, tmp_path: Path) -> None:
    (root / "linked").symlink_to(root / "test")
    (root / "linked" / "cat" / "round").symlink_to(root)
    split = read_images(str(root), 3, 8)
    assert len(split) == 26
    assert {path.split("/")[0] for path in split.files} == {"linked", "train"}
    assert split.read(torch.arange(26))[0].shape == (26, 3, 8, 8)
    assert list(split.files) == sorted(split.files)


def test_sixteen_bits_a_pixel_keep_their_shades(tmp_path: Path) -> None:
    level = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(level).save(tmp_path / "deep.png")
    gray, color = (read_images(tmp_path, channels, 8).squares(torch.arange(1), 8) for channels in (1, 3))
    np.testing.assert_array_equal(gray[0, 0], (level / 257).round())
    assert torch.equal(color[0], gray[0].expand(3, 8, 8))


def test_split_seed_draws_other_splits_of_the_same_images(root: Path) -> None:
    first, second = (load_images(DataConfig(split_seed=seed), progress=False) for seed in (0, 1))
    for part in ("train", "validation", "test"):
        one, other = getattr(first, part), getattr(second, part)
        assert len(one) == len(other)
        assert not torch.equal(one.images, other.images)
        assert torch.bincount(one.labels, minlength=10).sub(torch.bincount(other.labels, minlength=10)).abs().max() <= 1
    folders = [load_images(config(root, split_seed=seed), progress=False) for seed in range(6)]
    assert len({tuple(data.validation.images.flatten().tolist()) for data in folders}) > 1
    assert len({tuple(data.test.images.flatten().tolist()) for data in folders}) == 1, "a test folder is the test set"


def test_digits_ignore_the_global_seed_and_validation_leaves_the_test_set_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - scikit-learn's default source
    one = load_images(DataConfig(validation=0.1))
    np.random.seed(2)  # noqa: NPY002
    two = load_images(DataConfig(validation=0.0))
    assert torch.equal(one.test.images, two.test.images)
    assert len(two.validation) == 0
    assert two.validation.images.shape == (0, 1, 8, 8)


def test_pooled_joins_training_and_validation(root: Path) -> None:
    data = load_images(config(root), progress=False)
    pooled = data.pooled()
    assert (len(data.train), len(data.validation), len(pooled.train), len(pooled.validation)) == (16, 4, 20, 0)
    assert set(pooled.train.images[:, 0, 0, 0].tolist()) == set(range(10)) | set(range(100, 110))
    assert torch.equal(pooled.train.labels, (pooled.train.images[:, 0, 0, 0] >= 100).long())
    assert torch.equal(pooled.test.images, data.test.images)


def test_folder_keeps_each_image_with_its_label_and_its_split(root: Path) -> None:
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


def test_folder_without_test_keeps_a_quarter_of_each_class(tmp_path: Path) -> None:
    write(tmp_path / "cat", 40)
    write(tmp_path / "dog", 40, start=100)
    data = load_images(config(tmp_path), progress=False)
    assert torch.bincount(data.test.labels).tolist() == [10, 10]
    assert torch.bincount(data.validation.labels).tolist() == [6, 6]
    again = load_images(config(tmp_path), progress=False)
    assert torch.equal(data.test.images, again.test.images)


def test_more_files_than_one_chunk_keep_their_order(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 1)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(150):
            pixel = Image.new("RGB", (4, 4), (i, start, 0))
            pixel.save(tmp_path / "train" / name / f"{i:03d}.png")
        write(tmp_path / "test" / name, 1, size=(4, 4))
    data = load_images(config(tmp_path, validation=0), progress=False)
    assert data.train.images[:, 0, 0, 0].tolist() == 2 * list(range(150))
    assert data.train.images[:, 1, 0, 0].tolist() == data.train.labels.tolist() == 150 * [0] + 150 * [1]


def test_gray_and_transparent_images_become_rgb(root: Path) -> None:
    write(root / "train" / "cat", 10, mode="L", start=7)
    Image.new("RGBA", (8, 8), (100, 100, 100, 0)).save(root / "train" / "dog" / "000.png")
    images = load_images(config(root, validation=0), progress=False).train.images
    assert images.shape[1:] == (3, 8, 8)
    assert images[0].unique().tolist() == [7]


def test_pixels_keep_their_rows_columns_and_channels(root: Path) -> None:
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(root / "train" / "cat" / "000.png")
    image = load_images(config(root, validation=0), progress=False).train.images[0]
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))


def test_whole_pictures_are_kept_and_their_center_square_is_embedded(root: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(root / "train" / "cat" / "000.png")
    data = load_images(config(root, image_size=10, validation=0), progress=False)
    assert data.image_size == 10
    assert data.train.images.shape[-1] <= 20
    assert data.train.aspect is not None
    assert data.train.aspect[:2].tolist() == [3, 1]
    assert data.train.images[0].float().std() > 50, "the whole picture holds both shades"
    square = data.train.squares(torch.arange(1), 10)
    assert square.shape == (1, 3, 10, 10)
    assert (square[..., 2:-2].float() - 200).abs().max() <= 1


def test_images_of_many_sizes_get_views_of_64_px(tmp_path: Path) -> None:
    write(tmp_path / "a", 8, size=(90, 120))
    write(tmp_path / "b", 8, size=(300, 200))
    data = load_images(config(tmp_path, validation=0), progress=False)
    assert data.image_size == 64
    assert data.train.images.shape[-1] == 128
    assert data.train.aspect is not None
    assert sorted(data.train.aspect.unique().tolist()) == [0.75, 1.5]


def test_missing_root_and_folder(tmp_path: Path) -> None:
    fails(ConfigError, config(None), "data.root=")
    fails(ConfigError, config(tmp_path / "nowhere"), "nowhere", "no folder")
    (tmp_path / "void").mkdir()
    fails(ConfigError, config(tmp_path / "void"), "holds no images")


def unlabeled(data: ImageData, count: int) -> bool:
    """Whether all images are training images without a label."""
    return (data.classes, len(data.train), len(data.validation), len(data.test)) == ((), count, 0, 0) and bool(
        (data.train.labels == -1).all()
    )


def test_a_folder_without_class_folders_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path, 6)
    assert unlabeled(load_images(config(tmp_path)), 6)
    write(tmp_path / "deep" / "down", 4)
    data = load_images(config(tmp_path))
    assert unlabeled(data, 10)
    assert data.train.files[-1] == "deep/down/003.png"
    assert data.notes == ("10 images, no labels, views of 8 px",)


def test_one_class_folder_is_read_without_labels(tmp_path: Path) -> None:
    write(tmp_path / "cat", 4)
    data = load_images(config(tmp_path))
    assert unlabeled(data, 4)
    assert "one class ('cat') only" in data.notes[1]


def test_class_folders_may_be_deep_and_may_be_ignored(tmp_path: Path) -> None:
    for c, name in enumerate(("cat", "dog")):
        write(tmp_path / name / "2024" / "may", 8, start=100 * c)
    data = load_images(config(tmp_path, validation=0))
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 12, 4)
    assert data.notes == ("16 images, 2 classes (folders), views of 8 px",)
    assert unlabeled(load_images(config(tmp_path, labels="none")), 16)


def test_images_beside_class_folders_are_named(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path / "cat", 4)
    write(tmp_path / "dog", 4)
    fails(ConfigError, config(tmp_path, labels="folders"), "000.png", "data.labels=none")
    assert unlabeled(load_images(config(tmp_path)), 9)


def table(root: Path, *rows: str, head: str = "file,label") -> None:
    (root / "labels.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")


def test_labels_come_from_a_table(tmp_path: Path) -> None:
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
def test_mistakes_in_the_table(tmp_path: Path, rows: list[str], head: str, parts: tuple[str, ...]) -> None:
    write(tmp_path / "a", 3)
    table(tmp_path, *rows, head=head)
    fails(ConfigError, config(tmp_path), "labels.csv", *parts)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, 3)
    fails(ConfigError, config(tmp_path, labels="csv"), "labels.csv", "cannot be read")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00file")
    fails(ConfigError, config(tmp_path), "labels.csv", "cannot be read")


def test_an_empty_label_column_is_no_labels(tmp_path: Path) -> None:
    write(tmp_path, 3)
    table(tmp_path, "000.png,", "001.png,")
    assert unlabeled(load_images(config(tmp_path)), 3)


def test_too_few_labels_for_a_test_set_are_kept_and_nothing_is_scored(tmp_path: Path) -> None:
    write(tmp_path, 9)
    table(tmp_path, "000.png,a", "001.png,b", "002.png,c")
    data = load_images(config(tmp_path))
    assert (len(data.train), len(data.test), data.classes) == (9, 0, ("a", "b", "c"))
    assert "nothing is scored" in data.notes[1]


def test_class_that_only_the_test_set_has(root: Path) -> None:
    write(root / "test" / "emu", 2)
    fails(ConfigError, config(root), "emu", "train/ lacks")


def test_half_a_layout(tmp_path: Path) -> None:
    write(tmp_path / "test" / "cat", 4)
    fails(ConfigError, config(tmp_path), "test/", "no train/")


def test_a_missing_test_folder_is_drawn_from_train(tmp_path: Path) -> None:
    for name, start in (("cat", 0), ("dog", 100)):
        write(tmp_path / "train" / name, 40, start=start)
    data = load_images(config(tmp_path), progress=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 12, 20)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_validation_folder_is_the_validation_set(root: Path, name: str) -> None:
    for kind, start in (("cat", 0), ("dog", 100)):
        write(root / name / kind, 2, start=start + 70)
    data = load_images(config(root), progress=False)
    assert data.validation.images[:, 0, 0, 0].tolist() == [70, 71, 170, 171]
    assert (len(data.train), len(data.pooled().train), len(data.pooled().validation)) == (20, 24, 0)
    write(root / "val" / "emu", 2)
    (root / "validation").mkdir(exist_ok=True)
    fails(ConfigError, config(root), "validation/ and val/", "join them")


def test_unlabeled_images_join_the_training_images(root: Path) -> None:
    write(root / "unlabelled" / "deep" / "down", 5, start=200)
    data = load_images(config(root), progress=False)
    assert data.classes == ("cat", "dog")
    assert torch.bincount(data.train.labels + 1).tolist() == [5, 8, 8]
    assert data.train.labels[-5:].tolist() == 5 * [-1]
    assert data.train.images[-5:, 0, 0, 0].tolist() == [200, 201, 202, 203, 204]
    assert data.train.files[-1] == "unlabelled/deep/down/004.png"
    assert (data.validation.labels >= 0).all()


def test_each_image_keeps_its_file(root: Path) -> None:
    data = load_images(config(root), progress=False)
    for split in (data.train, data.validation, data.test, data.pooled().train):
        assert len(split.files) == len(split)
        for file, pixels in zip(split.files, split.images, strict=True):
            assert np.asarray(Image.open(root / file))[0, 0, 0] == pixels[0, 0, 0]


def test_a_photograph_is_turned_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    lying = np.zeros((8, 8, 3), dtype=np.uint8)
    lying[:, 0] = 255
    for kind in ("cat", "dog"):
        Image.fromarray(lying).save(root / "test" / kind / "000.png", exif=exif)
    image = load_images(config(root), progress=False).test.images[0, 0]
    assert image[0].min() == 255
    assert image[1:].max() == 0


def test_broken_files_are_left_out_up_to_a_share(root: Path) -> None:
    whole = (root / "train" / "cat" / "001.png").read_bytes()
    (root / "train" / "cat" / "001.png").write_bytes(whole[: len(whole) // 2])
    (root / "test" / "dog" / "000.png").write_bytes(b"")
    fails(RunError, config(root), "of 26 files", "data.max_broken")
    data = load_images(config(root, max_broken=0.1, validation=0))
    assert (len(data.train), len(data.test)) == (19, 5)
    assert [line.split(":")[0] for line in data.broken] == ["test/dog/000.png", "train/cat/001.png"]
    assert "empty file" in data.broken[0]
    assert "2 broken files left out" in data.notes[0]
    for split in (data.train, data.test):
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 100).long())


def test_images_above_the_memory_are_read_by_the_batch(root: Path) -> None:
    write(root / "train" / "cat", 10, size=(10, 8))
    kept, read = (load_images(config(root, memory=memory), progress=False) for memory in (2, 0))
    assert isinstance(read.train.images, Rows)
    assert "read by the batch" in read.notes[0]
    for part in ("train", "validation", "test"):
        one, other = getattr(kept, part), getattr(read, part)
        index = torch.tensor([2, 0])
        assert list(one.files) == list(other.files)
        for a, b in zip(one.read(index), other.read(index), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(kept.pooled().train.read(torch.arange(20))[0], read.pooled().train.read(torch.arange(20))[0])


def test_a_broken_file_that_is_read_by_the_batch_is_replaced_by_the_next(root: Path) -> None:
    (root / "train" / "cat" / "003.png").write_bytes(b"no image")
    data = load_images(config(root, memory=0, max_broken=0.1, validation=0), progress=False)
    images, _ = data.train.read(torch.tensor([3, 4, 5]))
    assert images[:, 0, 0, 0].tolist() == [4, 4, 5]
    assert list(data.train.broken()) == ["train/cat/003.png"]
    assert data.train.readable().tolist() == [0, 1, 2, *range(4, 20)]
    assert data.test.readable().tolist() == list(range(6))


def test_pipes_and_dangling_links_are_no_images(root: Path) -> None:
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    (root / "train" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    data = load_images(config(root, max_broken=0.1, validation=0), progress=False)
    assert len(data.train) == 20
    assert data.broken == ("train/cat/gone.png: no such file",)


def test_classes_too_small_for_validation_images(root: Path) -> None:
    data = load_images(config(root, validation=0.05), progress=False)
    assert (len(data.train), len(data.validation)) == (20, 0)
    assert "no validation images" in data.notes[1]


def test_offline_data_set_says_where_its_files_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name, folder in (
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("stl10", "stl10_binary"),
    ):
        fails(ConfigError, config(tmp_path, name=name), f"data.root={tmp_path}", str(tmp_path / folder), "no network")


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
    stl = load_images(config(tmp_path, name="stl10"))
    assert (stl.image_size, stl.train.labels.dtype) == (96, torch.int64)
    assert (int(stl.train.images.max()), int(stl.test.images.max())) == (5, 4)
