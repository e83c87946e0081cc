"""Image files: decoding, broken files, and images that are read by the batch."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cl_as_gnn.datasets import load_images, read_images
from cl_as_gnn.datasets.images import Rows
from cl_as_gnn.errors import RunError


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


def test_more_files_than_one_chunk_keep_their_order(tmp_path: Path, write, config) -> None:
    for name, start in (("a", 0), ("b", 1)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(150):
            pixel = Image.new("RGB", (4, 4), (i, start, 0))
            pixel.save(tmp_path / "train" / name / f"{i:03d}.png")
        write(tmp_path / "test" / name, 1, size=(4, 4))
    data = load_images(config(tmp_path, validation=0), progress=False)
    assert data.train.images[:, 0, 0, 0].tolist() == 2 * list(range(150))
    assert data.train.images[:, 1, 0, 0].tolist() == data.train.labels.tolist() == 150 * [0] + 150 * [1]


def test_gray_and_transparent_images_become_rgb(root: Path, write, config) -> None:
    write(root / "train" / "cat", 10, mode="L", start=7)
    Image.new("RGBA", (8, 8), (100, 100, 100, 0)).save(root / "train" / "dog" / "000.png")
    images = load_images(config(root, validation=0), progress=False).train.images
    assert images.shape[1:] == (3, 8, 8)
    assert images[0].unique().tolist() == [7]


def test_pixels_keep_their_rows_columns_and_channels(root: Path, config) -> None:
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(root / "train" / "cat" / "000.png")
    image = load_images(config(root, validation=0), progress=False).train.images[0]
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))


def test_whole_pictures_are_kept_and_their_center_square_is_embedded(root: Path, config) -> None:
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


def test_images_of_many_sizes_get_views_of_64_px(tmp_path: Path, write, config) -> None:
    write(tmp_path / "a", 8, size=(90, 120))
    write(tmp_path / "b", 8, size=(300, 200))
    data = load_images(config(tmp_path, validation=0), progress=False)
    assert data.image_size == 64
    assert data.train.images.shape[-1] == 128
    assert data.train.aspect is not None
    assert sorted(data.train.aspect.unique().tolist()) == [0.75, 1.5]


def test_a_photograph_is_turned_upright(root: Path, config) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    lying = np.zeros((8, 8, 3), dtype=np.uint8)
    lying[:, 0] = 255
    for kind in ("cat", "dog"):
        Image.fromarray(lying).save(root / "test" / kind / "000.png", exif=exif)
    image = load_images(config(root), progress=False).test.images[0, 0]
    assert image[0].min() == 255
    assert image[1:].max() == 0


def test_broken_files_are_left_out_up_to_a_share(root: Path, config, fails) -> None:
    whole = (root / "train" / "cat" / "001.png").read_bytes()
    (root / "train" / "cat" / "001.png").write_bytes(whole[: len(whole) // 2])
    (root / "test" / "dog" / "000.png").write_bytes(b"")
    fails(RunError, config(root), "of 26 cannot", "data.max_broken")
    data = load_images(config(root, max_broken=0.1, validation=0))
    assert (len(data.train), len(data.test)) == (19, 5)
    assert [line.split(":")[0] for line in data.broken] == ["test/dog/000.png", "train/cat/001.png"]
    assert "empty file" in data.broken[0]
    assert "2 broken files left out" in data.notes[0]
    for split in (data.train, data.test):
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 100).long())


def test_images_above_the_memory_are_read_by_the_batch(root: Path, write, config) -> None:
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


def test_a_broken_file_that_is_read_by_the_batch_is_replaced_by_the_next(root: Path, config) -> None:
    (root / "train" / "cat" / "003.png").write_bytes(b"no image")
    data = load_images(config(root, memory=0, max_broken=0.1, validation=0), progress=False)
    images, _ = data.train.read(torch.tensor([3, 4, 5]))
    assert images[:, 0, 0, 0].tolist() == [4, 4, 5]
    assert list(data.train.broken()) == ["train/cat/003.png"]
    assert data.train.readable().tolist() == [0, 1, 2, *range(4, 20)]
    assert data.test.readable().tolist() == list(range(6))


def test_pipes_and_dangling_links_are_no_images(root: Path, config) -> None:
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    (root / "train" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    data = load_images(config(root, max_broken=0.1, validation=0), progress=False)
    assert len(data.train) == 20
    assert data.broken == ("train/cat/gone.png: no such file",)
