"""Chunks of LitData: the same images as in files, an order by chunks, and the one line for each mistake."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.images import WINDOW, Rows, Split
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.training.fit import train

litdata = pytest.importorskip("litdata")
from cl_as_gnn.datasets.litdata_shards import LitDataConfig  # noqa: E402

COUNT = 40


class Kept:
    """Not of the kinds that LitData stores without pickle."""


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """40 JPEG files, and the same as bytes, pictures and arrays in chunks of 3."""
    root = tmp_path_factory.mktemp("shards")
    random = np.random.default_rng(0)
    (root / "files").mkdir()
    parts = {"bytes": [], "arrays": [], "tuples": [], "hostile": []}
    for i in range(COUNT):
        picture = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((12, 12 + i % 5))
        path = root / "files" / f"{i:02d}.jpg"
        picture.save(path)
        parts["bytes"].append({"image": path.read_bytes(), "label": i % 2})
        parts["arrays"].append({"image": np.asarray(Image.open(path)), "label": "ab"[i % 2]})
        parts["tuples"].append((i, Image.open(path)))
        parts["hostile"].append({"image": Kept()})
    for name, samples in parts.items():
        cache = litdata.streaming.Cache(str(root / name), chunk_size=3)
        for i, sample in enumerate(samples):
            cache[i] = sample
        cache.done()
        cache.merge()
    return root


@pytest.fixture
def read(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_OPTIMIZER_CACHE_FOLDER", str(tmp_path / "chunks"))

    def images(root, **changes):
        section = {"root": str(root), "image_size": 8, "memory": 0, **changes}
        return load_images(LitDataConfig.model_validate(section), progress=False)

    return images


def test_samples_are_the_images_of_the_files(shards, read, config):
    files = load_images(config(shards / "files", image_size=8, memory=0), progress=False).train
    rows = torch.tensor([39, 4, 4, 17, 0])
    expected = files.read(rows)
    for root, more in (
        (shards / "bytes", {}),
        (f"local:{shards / 'bytes'}", {}),
        (shards / "arrays", {}),
        (shards / "tuples", {"image_key": 1}),
    ):
        data = read(root, **more)
        assert len(data.train) == COUNT
        found = data.train.read(rows)
        assert torch.equal(found[1], expected[1])
        if root == shards / "arrays":  # which were decoded in full
            assert (found[0].float() - expected[0].float()).abs().mean() < 8
        else:
            assert torch.equal(found[0], expected[0])


def test_every_rank_knows_all_samples(shards, read, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("GLOBAL_RANK", "1")
    assert len(read(shards / "bytes").train) == COUNT


@pytest.mark.parametrize(("name", "classes"), [("bytes", ("0", "1")), ("arrays", ("a", "b"))])
def test_labels_come_from_a_key(shards, read, name, classes):
    data = read(shards / name, label_key="label")
    assert data.classes == classes
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 10)
    assert data.notes[0].startswith("40 images, 2 classes (key label), views of 8 px; ")
    rows = data.train.images.index
    assert torch.equal(data.train.labels, rows % 2)


def test_a_run_from_a_url_resumes_in_the_same_order(shards, read, configure, resumes_alike, tmp_path):
    words = ("data.name=litdata", f"data.root=local:{shards / 'bytes'}", "data.image_size=8", "data.memory=0")
    more = ("trainer.batch_size=16", "eval.baselines=false", "method.name=gcn_bank")
    one, resumed = resumes_alike(tmp_path, lambda path: configure(path, *words, *more))
    assert one["loss"] == resumed["loss"]
    kept = train(configure(tmp_path / "kept", *words, *more, f"data.cache={tmp_path / 'cache'}"))
    assert kept["loss"] == one["loss"], "the order follows the chunks of the source"
    assert kept["config_digest"] == one["config_digest"]


def test_a_bucket_gives_the_samples_of_the_folder(shards, read, monkeypatch):
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # The other client of LitData refuses servers without TLS.
    monkeypatch.setattr("litdata.streaming.downloader._OBSTORE_AVAILABLE", False)
    served = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    served.start()
    try:
        host, port = served.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        bucket = boto3.client("s3")
        bucket.create_bucket(Bucket="photos")
        for file in (shards / "bytes").iterdir():
            bucket.upload_file(str(file), "photos", f"some/{file.name}")
        there = read("s3://photos/some", label_key="label").train
        here = read(shards / "bytes", label_key="label").train
        rows = torch.arange(len(here))
        for found, expected in zip(there.read(rows), here.read(rows), strict=True):
            assert torch.equal(found, expected)
        assert torch.equal(there.labels, here.labels)
    finally:
        served.stop()


def test_the_order_reads_a_chunk_once_and_differs_by_epoch():
    class Store:
        chunk_ends = torch.arange(1, 41) * 25
        shape = (1000, 3, 8, 8)

    index = torch.arange(1000)[::3].contiguous()
    split = Split(Rows(Store(), index), torch.zeros(len(index)))
    first, again, other = (split.order(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, torch.arange(len(index)))
    chunk = index[first] // 25
    for c in range(40):
        at = (chunk == c).nonzero()
        assert at.max() - at.min() < 9 * WINDOW
    assert len(chunk[:40].unique()) > WINDOW / 2


def test_mistakes_are_one_line(shards, read, tmp_path, clgnn):
    def fails(*parts, root=shards / "bytes", **changes):
        with pytest.raises(ConfigError) as caught:
            read(root, **changes).train.read(torch.arange(4))
        assert "\n" not in str(caught.value)
        assert all(part in str(caught.value) for part in parts)

    fails("data.image_key=picture", "keys image, label", image_key="picture")
    fails("data.label_key=y", "keys image, label", label_key="y")
    fails("cannot be read by litdata", root=tmp_path / "nowhere")
    fails("cannot be read by litdata", root=shards / "files")
    fails("pickled objects", root=shards / "hostile")
    code, _, err = clgnn("train", "data.name=litdata")
    assert code == 2
    assert "set data.root" in err


def test_a_broken_sample_is_left_out(tmp_path, read):
    cache = litdata.streaming.Cache(str(tmp_path / "some"), chunk_size=4)
    for i in range(20):
        file = BytesIO()
        Image.new("RGB", (8, 8), (i, i, i)).save(file, "png")
        cache[i] = {"image": b"no image" if i == 5 else file.getvalue()}
    cache.done()
    cache.merge()
    data = read(tmp_path / "some", max_broken=0.1)
    images, _ = data.train.read(torch.arange(20))
    assert images[:, 0, 0, 0].tolist() == [*range(5), 6, *range(6, 20)]
    assert data.train.broken().keys() == {"sample 5"}
