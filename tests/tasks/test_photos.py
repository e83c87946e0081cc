"""Runs on photographs of many sizes, in memory or read by the batch, with labels or without."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_as_gnn.compare.suite import Cell
from cl_as_gnn.config import AugmentConfig, load_config
from cl_as_gnn.datasets.recipes import BYOL
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.report.draw import inspect_batch
from cl_as_gnn.runs.folder import RunFolder
from cl_as_gnn.tasks import load_task, scored_data
from cl_as_gnn.training.fit import train

SETTINGS = ("data.image_size=8", "data.max_broken=0.1", "encoder.width=8", "trainer.batch_size=16", "trainer.epochs=3")


@pytest.fixture
def photographs(tmp_path):
    """40 JPEG files of many sizes, some gray, in one folder and one below it, and a broken one."""
    random = np.random.default_rng(0)
    root = tmp_path / "photographs"
    (root / "deep").mkdir(parents=True)
    for i in range(40):
        size = tuple(int(side) for side in random.integers(10, 40, 2))
        pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize(size)
        (picture.convert("L") if i % 5 == 0 else picture).save(root / ("deep" if i % 2 else "") / f"{i:02d}.jpg")
    (root / "10.jpg").write_bytes((root / "10.jpg").read_bytes()[:200])
    return root


def test_a_run_that_reads_by_the_batch_resumes_and_equals_one_in_memory(
    photographs, configure, resumes_alike, weights, tmp_path
):
    words = (*SETTINGS, "trainer.batch_size=8", f"data.root={photographs}", "data.name=folder", "eval.baselines=false")
    (photographs / "10.jpg").unlink()  # in memory it is left out, by the batch replaced
    streamed, resumed = resumes_alike(tmp_path, lambda path: configure(path, *words, "data.memory=0"))
    kept = train(configure(tmp_path / "kept", *words))
    for key in ("loss", "alignment", "effective_rank", "view_agreement"):
        assert streamed[key] == resumed[key] == kept[key]


@pytest.mark.parametrize("memory", [0, 1])
def test_a_folder_without_labels_trains_is_judged_reported_and_embedded(clgnn, photographs, small, memory):
    words = [*small, *SETTINGS, f"data.root={photographs}", f"data.memory={memory}", "run_dir=run"]
    code, out, err = clgnn("train", *[word for word in words if not word.startswith("data.name")])
    assert (code, err) == (0, "")
    assert "40 images, no labels, views of 8 px" in out
    assert "view agreement" in out
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert "knn_top1" not in metrics
    assert Path("run/broken.txt").read_text().startswith("10.jpg: ")
    assert clgnn("embed", "run", "--out", "own.npz")[0] == 0
    assert clgnn("embed", "run", "--out", "other.npz", "--images", photographs)[0] == 0
    with np.load("own.npz") as own, np.load("other.npz") as other:
        assert len(own["train"]) == len(other["features"]) == 39
        assert list(own["train_files"]) == list(other["files"])
        np.testing.assert_allclose(own["train"], other["features"], atol=1e-5)
    code, _, err = clgnn("report", "run")
    assert err == ""
    assert code == 0
    assert "No pictures" not in Path("run/report.html").read_text()
    assert clgnn("inspect", "--run", "run", "--out", "graph.png", "--samples", "4")[0] == 0


def test_one_image_is_one_line(clgnn, photographs, small):
    for path in photographs.rglob("*.jpg"):
        if path.name != "02.jpg":
            path.unlink()
    words = [word for word in small if not word.startswith("data.name")]
    code, _, err = clgnn("train", *words, *SETTINGS, f"data.root={photographs}", "run_dir=run")
    assert code == 2
    assert err == "error: data.name=folder has one image to train on: images are compared, give at least two\n"
    assert not Path("run").exists()


def test_weights_to_start_from_set_the_size(photographs):
    def side(*more):
        words = (f"data.root={photographs}", "data.max_broken=0.1", "encoder.name=timm/test_vit", *more)
        return scored_data(load_config(None, words), progress=False).image_size

    assert side() == 64
    assert side("encoder.weights=pretrained") == 160
    assert side("encoder.weights=pretrained", "data.image_size=32") == 32


def test_a_kept_cache_and_a_packed_folder_give_the_numbers_of_the_images(photographs, configure, tmp_path):
    def run(name, *words):
        more = ("trainer.epochs=2", "eval.baselines=true", *words)
        metrics = train(configure(tmp_path / name, "data.name=folder", *SETTINGS, *more))
        return {key: value for key, value in metrics.items() if "second" not in key}

    cache = tmp_path / "cache"
    for memory in ("data.memory=0", "data.memory=1"):
        plain = run(f"plain-{memory}", f"data.root={photographs}", memory)
        filled = run(f"filled-{memory}", f"data.root={photographs}", memory, f"data.cache={cache}")
        kept = run(f"kept-{memory}", f"data.root={cache}", memory)
        assert plain == filled == kept
        assert plain["baselines"]
    assert (tmp_path / f"kept-{memory}" / "broken.txt").read_text().startswith("10.jpg: ")


def test_pack_tells_the_size_and_goes_on(clgnn, photographs):
    words = ("pack", f"data.root={photographs}", "data.image_size=8", "data.max_broken=0.1", "--out", "packed")
    code, out, err = clgnn(*words)
    assert (code, err) == (0, "")
    assert "40 images as squares of 16 px for data.image_size=8: 0.00 GB in packed, where " in out
    assert "left out 10.jpg: " in out
    assert clgnn(*words)[1].endswith("packed: done, train with data.root=packed data.image_size=8\n")
    for other, part in (
        (("pack", "data.root=packed", "--out", "more"), "packed already"),
        (("pack", "--out", "more"), "data.name=digits"),
        (("pack", f"data.root={photographs}", "--out", f"{photographs}"), "--out"),
        ((*words, "data.cache=more"), "drop data.cache"),
        (("train", "data.root=packed", "data.image_size=32"), "packed for data.image_size=8"),
    ):
        code, _, err = clgnn(*other)
        assert (code, err.count("\n")) == (2, 1)
        assert part in err


def test_large_views_take_a_recipe_that_the_run_keeps(photographs, configure, resumes_alike, tmp_path):
    words = (*SETTINGS, f"data.root={photographs}", "data.name=folder", "data.image_size=65", "method.name=byol")
    more = ("method.num_views=3", "data.augment.local_views=1", "data.memory=0", "trainer.batch_size=20")
    whole, resumed = resumes_alike(tmp_path, lambda path: configure(path, *words, *more))
    stored = RunFolder(tmp_path / "whole").load_config()
    assert stored.data.augment == BYOL.augment.model_copy(update={"local_views": 1})
    assert whole["recipe"] == BYOL.source
    assert whole["config_digest"] == resumed["config_digest"] == stored.digest
    assert whole["view_agreement"] == resumed["view_agreement"]
    given = configure(tmp_path / "whole", *words, *more)
    assert given.digest != stored.digest
    assert Cell("byol", 0, given).metrics["config_digest"] == stored.digest
    other = given.model_copy(update={"data": given.data.model_copy(update={"augment": AugmentConfig(flip=0.1)})})
    with pytest.raises(ConfigError, match="holds other settings"):
        assert Cell("byol", 0, other).metrics
    lines = inspect_batch(None, tmp_path / "whole", tmp_path / "graph.png", 4)
    assert "4 images × 3 views" in lines[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("method.num_views=3", "data.augment.local_views=2"), ("local_views=2", "set method.num_views=4 or more")),
        (("method.num_views=3", "data.augment.local_views=1", "encoder.name=timm/test_vit"), ("views of 24 px",)),
    ],
)
def test_small_views_that_do_not_fit_are_one_line(photographs, words, parts):
    with pytest.raises(ConfigError) as caught:
        load_task(load_config(None, [f"data.root={photographs}", "data.max_broken=0.1", *words]), False).encoder()
    for part in ("data.augment.local_views", *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
