"""Runs on images without labels, as a user types them; and the scores of any run on labeled images beside it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import load_images
from cl_as_gnn.evaluation import effective_rank, view_agreement
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import load_task

SCORES = ("knn_top1", "linear_top1", "label1_top1", "label10_top1", "edge_purity")
LABEL_FREE = ("view_agreement", "effective_rank", "alignment", "uniformity")


@pytest.fixture
def labeled(tmp_path):
    """Digits in class folders, as gray pictures of twice the size."""
    data = load_images(load_config().data, progress=False)
    for i, (image, label) in enumerate(zip(data.test.images, data.test.labels.tolist(), strict=True)):
        folder = tmp_path / "labeled" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].repeat_interleave(2, 0).repeat_interleave(2, 1).numpy()).save(folder / f"{i:03d}.png")
    return tmp_path / "labeled"


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_run_without_labels_is_judged(clgnn, tmp_path, bare, small):
    code, out, err = clgnn("train", *small, "data.name=bare", "eval.baselines=true", "run_dir=run")
    assert code == 0, err
    metrics = metrics_of(tmp_path / "run")
    assert not set(SCORES) & metrics.keys()
    assert metrics["collapsed_at"] is None
    assert "kNN" not in out
    assert "–" in out, "raw pixels have no projections"
    assert max(map(len, out.splitlines()[-7:-1])) <= 80
    table = [line.split() for line in out.splitlines()]
    for name, row in (("gcn", metrics), *metrics["baselines"].items()):
        shown = [line for line in table if line[: len(name.split())] == name.split()][-1]
        assert shown[len(name.split())] == f"{row['view_agreement']:.1f}"
    assert all(np.isfinite(metrics["baselines"]["untrained encoder"][key]) for key in LABEL_FREE)
    assert set(metrics["baselines"]["raw pixels"]) == {"view_agreement", "effective_rank"}
    assert {row["online_knn"] for row in open_run(tmp_path / "run").read_history()} == {""}
    code, again, err = clgnn("evaluate", "run")
    assert code == 0, err
    assert [line.split() for line in again.splitlines() if line.startswith("gcn")] == [
        line for line in table if line[:1] == ["gcn"] and line[1] != "on"
    ]
    assert metrics["protocol"].startswith("no labels; ")


def test_view_agreement_is_that_of_the_features(configure, tmp_path, clgnn, small):
    code, out, err = clgnn("train", *small, "run_dir=run")
    assert code == 0, err
    metrics, run = metrics_of(tmp_path / "run"), open_run(tmp_path / "run")
    assert f"view agreement {metrics['view_agreement']:.1f} %" in out.splitlines()[-3]
    assert len(out.splitlines()[-2]) <= 80
    task = load_task(run.load_config(), False)
    method, images = load_method(run.load_config(), task, run), task.data.train.images
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        views = [method.encoder(task.views()(part, 2, generator)) for part in images.split(256)]
    first, second = torch.cat([part.unflatten(0, (2, -1)) for part in views], 1)
    assert metrics["view_agreement"] == pytest.approx(view_agreement(first, second))
    assert metrics["effective_rank"] == pytest.approx(
        effective_rank(task.features(method.encoder, torch.device("cpu"))["test"])
    )


@pytest.mark.parametrize("method", ["supcon", "oracle"])
def test_methods_that_read_labels_are_refused_before_training(clgnn, tmp_path, bare, method):
    code, _, err = clgnn("train", "data.name=bare", f"method.name={method}", "run_dir=run")
    assert code == 2
    assert f"method.name={method} reads labels" in err
    assert "choose a method without, such as gcn" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_any_run_is_scored_on_other_labeled_images(clgnn, tmp_path, bare, small, labeled):
    words = [*small, "data.name=bare", "eval.baselines=true", "run_dir=run"]
    code, out, err = clgnn("train", *words, "eval.root=labeled")
    assert code == 0, err
    metrics = metrics_of(tmp_path / "run")
    assert metrics["knn_top1"] > 60, "the pictures are those of the digits, with the mean of the run"
    assert metrics["baselines"]["raw pixels"]["knn_top1"] > 60
    assert "of the test split of eval.root=labeled with its 337 training images" in metrics["protocol"]
    assert "kNN" in out
    assert open_run(tmp_path / "run").load_config().eval.root == labeled, "absolute, to be found from elsewhere"
    assert f"{metrics['knn_top1']:.1f}" in clgnn("evaluate", "run")[1]
    code, out, _ = clgnn("train", "resume=run", "eval.root=null")
    assert code == 0
    assert not set(SCORES) & metrics_of(tmp_path / "run").keys()
    code, out, err = clgnn("evaluate", "run", "eval.root=labeled")
    assert f"{metrics['knn_top1']:.1f}" in out, err
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    assert "no labels and no checkpoint" in clgnn("evaluate", "run")[2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["eval.root=gone"], "eval.root=gone"),
        (
            ["data.name=karate", "eval.root=labeled"],
            "eval.root=labeled is for images, and data.name=karate holds nodes",
        ),
        (["data.name=bare", "eval.split=validation"], "eval.split=validation expects labels"),
    ],
)
def test_mistakes(clgnn, tmp_path, bare, words, line):
    code, _, err = clgnn("train", *words, "run_dir=run")
    assert code == 2
    assert line in err
    assert "data.root" not in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_evaluate_takes_settings_of_the_scores_only(clgnn, tmp_path, small):
    assert clgnn("train", *small, "trainer.epochs=1", "run_dir=run")[0] == 0
    assert "takes eval.* only, not trainer" in clgnn("evaluate", "run", "trainer.epochs=2")[2]


def test_labels_of_some_images_and_no_test_images(configure, tmp_path, bare):
    from cl_as_gnn.training.fit import train

    load = bare.load.__func__

    def some(cls, config, progress=True):
        data = load(cls, config, progress)
        data.train.labels[:40] = torch.arange(40) % 2
        return type(data)("bare", ("a", "b"), data.train, data.validation, data.test)

    bare.load = classmethod(some)
    metrics = train(configure(tmp_path / "run", "data.name=bare", "method.name=supcon"))
    assert not set(SCORES) & metrics.keys()
    assert open_run(tmp_path / "run").read_history()[-1]["online_knn"]
