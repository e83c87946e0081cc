"""Data sets that the package ``datasets`` has saved."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.hugging_face import HuggingFaceConfig
from cl_as_gnn.errors import ConfigError

INSTALLED = importlib.util.find_spec("datasets") is not None
needs = pytest.mark.skipif(not INSTALLED, reason="the package datasets (extra hf) is not installed")


def config(root: Path | None, **changes: object) -> HuggingFaceConfig:
    return HuggingFaceConfig.model_validate({"root": root, "validation": 0, **changes})


def fails(wanted: HuggingFaceConfig, *parts: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_images(wanted, progress=False)
    for part in parts:
        assert part in str(caught.value)


def saved(count: int, labels: bool = True):
    import datasets

    pictures = [Image.new("RGB", (24, 16), (i, 0, 0)) for i in range(count)]
    features = {"picture": datasets.Image()}
    columns = {"picture": pictures}
    if labels:
        features["kind"] = datasets.ClassLabel(names=["even", "odd"])
        columns["kind"] = [i % 2 for i in range(count)]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@needs
@pytest.mark.parametrize("memory", [0, 1])
def test_a_saved_data_set_with_classes(tmp_path: Path, memory: float) -> None:
    saved(40).train_test_split(10, seed=0).save_to_disk(str(tmp_path / "saved"))
    data = load_images(config(tmp_path / "saved", memory=memory), progress=False)
    assert (data.classes, len(data.train), len(data.test)) == (("even", "odd"), 30, 10)
    for split in (data.train, data.test):
        images, aspect = split.read(torch.arange(len(split)))
        assert torch.equal(images[:, 0, 0, 0].long() % 2, split.labels)
        assert aspect is not None
        assert (aspect == 1.5).all()


@needs
def test_parquet_files_without_classes(tmp_path: Path) -> None:
    for i in range(2):
        saved(6, labels=False).to_parquet(str(tmp_path / f"train-{i}.parquet"))
    data = load_images(config(tmp_path), progress=False)
    assert (data.classes, len(data.train), len(data.test)) == ((), 12, 0)


@needs
def test_what_is_no_saved_data_set(tmp_path: Path) -> None:
    fails(config(tmp_path), "cannot be read by datasets")
    saved(4).save_to_disk(str(tmp_path / "saved"))
    fails(config(tmp_path / "saved", label_column="clas"), "data.label_column=clas", "picture, kind")
    (tmp_path / "x.parquet").write_bytes(b"no table")
    fails(config(tmp_path), "cannot be read by datasets")


@pytest.mark.skipif(INSTALLED, reason="the package datasets is installed")
def test_without_the_package_a_line_says_how_to_install_it(tmp_path: Path) -> None:
    fails(config(tmp_path), "pip install 'cl-as-gnn[hf]'")


@needs
def test_a_missing_folder() -> None:
    fails(config(None), "data.root=None")
