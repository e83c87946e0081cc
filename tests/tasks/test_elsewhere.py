"""Scores under shifts of the test images and by transfer, as a user asks for them."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from cl_as_gnn.config import SHIFTS
from cl_as_gnn.datasets.shifts import shifted
from cl_as_gnn.evaluation import knn_accuracy, linear_probe
from cl_as_gnn.evaluation.scores import ELSEWHERE, under_shifts
from cl_as_gnn.report import write_report
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import load_encoder
from cl_as_gnn.tasks import load_task
from cl_as_gnn.tasks.embed import embed

SHIFTED = ("rotate", "blur", "noise", "cutout")
ASKED = "eval.shifts=[rotate,grey,cutout]"
CPU = torch.device("cpu")


def metrics_of(path):
    return json.loads((path / "metrics.json").read_text())


@pytest.fixture
def colored(tmp_path):
    """Three classes of 30 images of 12 px, of which one color is bright; and 6 images of each class to test on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 6)):
        for number, name in enumerate(("red", "green", "blue")):
            folder = tmp_path / "colored" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 128, (12, 12, 3), dtype=np.uint8)
                pixels[..., number] += 100
                Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return tmp_path / "colored"


@pytest.fixture
def run(clgnn, tmp_path, small):
    """Trains a small run in the folder ``run``; returns its metrics and what was printed."""

    def train(*words):
        few = [*small, "data.validation=0.6", "trainer.epochs=1", "method.name=simclr"]
        code, out, err = clgnn("train", *few, *words, "run_dir=run")
        assert code == 0, err
        return metrics_of(tmp_path / "run"), out

    return train


def test_probes_of_clean_features_are_scored_on_shifted_images(run, tmp_path):
    metrics, out = run(ASKED, "eval.transfer_classes=[1,7]", "eval.baselines=true")
    config = open_run(tmp_path / "run").load_config()
    task, encoder = load_task(config, False), load_encoder(open_run(tmp_path / "run"))
    features = task.features(encoder, CPU)
    assert not any(name.startswith("shift_") for name in features), "the exported features are those of the images"
    bank, y, truth = features["train"], features["train_labels"], features["test_labels"]
    images = task.data.test.images
    for name in ("rotate", "cutout"):
        x = embed(encoder, shifted([images], name), task.stats)
        assert metrics[f"shift_{name}_linear_top1"] == pytest.approx(linear_probe(bank, y, x, truth, max_iter=1000))
        assert metrics[f"shift_{name}_knn_top1"] == pytest.approx(knn_accuracy(bank, y, x, truth))
    for probe in ("linear", "knn"):
        each = [metrics[f"shift_{name}_{probe}_top1"] for name in ("rotate", "cutout")]
        assert metrics[f"shift_{probe}_top1"] == pytest.approx(sum(each) / 2)
        assert metrics[f"shift_{probe}_top1"] < metrics[f"{probe}_top1"]
    assert "shift_grey_linear_top1" not in metrics, "gray digits are gray already"
    assert "under rotate 30 to 45° either way, cutout of a square of 0.5 of the side" in metrics["protocol"]
    assert "grey: absent, the images are gray" in metrics["protocol"]
    assert 10 < metrics["baselines"]["untrained encoder"]["shift_linear_top1"] < 100
    assert not set(ELSEWHERE) & metrics["baselines"]["raw pixels"].keys()
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    heading = next(i for i, line in enumerate(lines) if line.strip() == "under shifts, %")
    assert lines[heading + 1].split() == ["clean", "rotate", "cutout", "mean"]
    for line, (probe, name) in zip(lines[heading + 2 :], (("linear", "linear"), ("knn", "kNN")), strict=False):
        keys = (f"{probe}_top1", *(f"shift_{shift}{probe}_top1" for shift in ("rotate_", "cutout_", "")))
        assert line.split() == [name, *(f"{metrics[key]:.1f}" for key in keys)]
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    for prefix, row in (("", metrics), ("baselines/untrained encoder/", metrics["baselines"]["untrained encoder"])):
        assert {"shift_cutout_knn_top1", "transfer_linear_top1"} < row.keys()
        for key in set(ELSEWHERE) & row.keys():
            assert f'data-key="{prefix}{key}" value="{row[key]!r}"' in page
    assert page.count("Test images under shifts") == page.count("Transfer by new probes") == 1
    assert "baselines/raw pixels/shift" not in page


def test_a_finished_run_is_scored_under_shifts_and_forgets_them(clgnn, run, tmp_path):
    before, out = run()
    assert "shift" not in out + before["protocol"]
    assert not set(ELSEWHERE) & before.keys()
    stored = tmp_path / "run" / "config.yaml"
    text = stored.read_text()
    assert "shifts: []" in text
    old = re.sub(r"  (shifts: \[\]|transfer(_classes)?: null|classes: null)\n", "", text)
    assert "shifts" not in old
    stored.write_text(old)  # that of a run before there were shifts
    code, out, err = clgnn("evaluate", "run", "eval.shifts=[noise]")
    assert code == 0, err
    assert "noise" in out
    assert metrics_of(tmp_path / "run") == before, "nothing is written"
    printed = [line.split() for line in out.splitlines()]
    code, _, err = clgnn("train", "resume=run", "eval.shifts=[noise]", "eval.transfer_classes=[1,7]")
    assert code == 0, err
    now = metrics_of(tmp_path / "run")
    assert ["linear", f"{now['linear_top1']:.1f}", *[f"{now['shift_linear_top1']:.1f}"] * 2] in printed
    assert now["config_digest"] != before["config_digest"]
    assert now["linear_top1"] == before["linear_top1"]
    assert 50 < now["transfer_linear_top1"] <= 100
    code, _, err = clgnn("train", "resume=run", "eval.shifts=[]", "eval.transfer_classes=null")
    assert code == 0, err
    after = metrics_of(tmp_path / "run")
    assert not set(ELSEWHERE) & after.keys()
    assert after["config_digest"] == before["config_digest"]


def test_transfer_fits_new_probes_on_another_folder(run, clgnn, tmp_path, colored):
    metrics, out = run("eval.transfer=colored")
    config = open_run(tmp_path / "run").load_config()
    assert config.eval.transfer == colored, "absolute, to be found from elsewhere"
    task = load_task(config, False)
    features = task.features(load_encoder(open_run(tmp_path / "run")), CPU)
    assert features["transfer_train"].shape == (90, features["train"].size(1)), "as gray images of the run's 8 px"
    args = [features[f"transfer_{name}"] for name in ("train", "train_labels", "test", "test_labels")]
    assert metrics["transfer_linear_top1"] == pytest.approx(linear_probe(*args, max_iter=1000))
    assert metrics["transfer_knn_top1"] == pytest.approx(knn_accuracy(*args))
    linear, knn = metrics["transfer_linear_top1"], metrics["transfer_knn_top1"]
    assert f"transfer, with probes of its own: linear {linear:.1f} %, kNN {knn:.1f} %" in out
    assert "probes on 90 training images of colored, scored on 18" in metrics["protocol"]
    assert max(map(len, out.splitlines()[:-1])) <= 80
    # More neighbors are asked for than there are, and one image to score.
    for name in ("red", "blue"):
        for i in range(6 - (name == "red"), 0, -1):
            (colored / "test" / name / f"{i - 1:02d}.png").unlink()
    words = ("eval.transfer=colored", "eval.transfer_classes=[red,blue]", "eval.knn_k=5000")
    code, out, err = clgnn("train", "resume=run", *words)
    assert code == 0, err
    metrics = metrics_of(tmp_path / "run")
    assert metrics["transfer_linear_top1"] in (0, 100)
    assert "60 training images of colored (blue, red), scored on 1" in metrics["protocol"]


def test_transfer_to_other_classes_of_the_same_set_and_back(run, colored):
    words = (
        "data.root=colored",
        "data.classes=[red,green]",
        "eval.transfer_classes=[blue,green]",
        "eval.shifts=[grey]",
    )
    metrics, _ = run(*words, "eval.split=validation", "data.validation=0.5")
    assert "the 30 images of the validation split with the 30 training images" in metrics["protocol"]
    assert "transfer: linear and knn probes on 30 training images of folder (blue, green)" in metrics["protocol"]
    assert metrics["linear_top1"] == 100
    assert metrics["transfer_linear_top1"] == 100
    assert metrics["shift_grey_linear_top1"] < 100, "without colors little is left"
    assert metrics["shift_linear_top1"] == metrics["shift_grey_linear_top1"]


def test_a_run_without_labels_is_transferred(run, bare, colored):
    metrics, out = run("data.name=bare", "eval.transfer=colored", "eval.baselines=true")
    assert "transfer, with probes of its own" in out
    assert metrics["transfer_linear_top1"] > 0
    assert "knn_top1" not in metrics
    assert metrics["baselines"]["untrained encoder"]["transfer_knn_top1"] > 0
    assert "transfer: linear and knn probes on 90 training images" in metrics["protocol"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["eval.shifts=[rotat]"], "unknown value 'rotat' (eval.shifts=rotat): did you mean 'rotate'?"),
        (["eval.shifts=[x]"], "there are blur, cutout, grey, noise, rotate"),
        (["eval.shifts=[blur,blur]"], "expects some of rotate, blur, noise, cutout, grey, each once, got [blur, blur]"),
        (["data.name=bare", "eval.shifts=[blur]"], "eval.shifts=[blur] expects labels"),
        (
            ["data.name=karate", "eval.shifts=[blur]"],
            "eval.shifts=[blur] is for images, and data.name=karate holds",
        ),
        (["data.name=karate", "eval.transfer=colored"], "eval.transfer=colored is for images"),
        (["eval.transfer=gone"], "eval.transfer=gone is no folder"),
        (["eval.transfer=colored/train/red"], "eval.transfer=colored/train/red holds no labels"),
        (["eval.transfer=colored", "eval.transfer_classes=[red,x]"], "no class 'x', there are blue, green, red"),
        (["eval.transfer_classes=[1,x]"], "eval.transfer_classes=[1, x]: there is no class 'x', there are 0, 1"),
        (["data.name=bare", "eval.transfer_classes=[1,2]"], "eval.transfer_classes=[1, 2] expects labels"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_has_run(clgnn, tmp_path, bare, colored, words, line):
    code, _, err = clgnn("train", *words, "run_dir=run")
    assert code == 2
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert "data.classes" not in err
    assert not (tmp_path / "run").exists()


def test_a_row_lists_the_shifts_that_it_has():
    row = {"linear_top1": 90.0, "shift_blur_linear_top1": 80.0, "shift_linear_top1": 80.0, "knn_top1": 70.0}
    assert under_shifts(row) == {"linear": {"clean": 90, "blur": 80, "mean": 80}}
    assert under_shifts({"linear_top1": 90.0}) == {}
    assert {f"shift_{name}_knn_top1" for name in SHIFTS} < set(ELSEWHERE)
