"""Accuracy against the number of labels: what is measured of a run, and the page."""

from importlib import import_module

import pytest
import torch

from benchmarks.common import store
from cl_as_gnn.config import load_config
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import train


@pytest.fixture
def curve(monkeypatch):
    module = import_module("benchmarks.label_curve")
    for name, value in {"COUNTS": (1, 3, 1000), "DRAWS": 2, "SELECTED": 1}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_an_encoder_learns_from_the_given_labels_alone(curve, small):
    task = load_task(load_config(None, small), progress=False)
    at = (task.data.train.labels < 2).nonzero().view(-1)[:30]
    y = task.data.train.labels[at]
    for labels, expected in ((y, True), (1 - y, False)):
        model = curve.supervised(task, at, labels, 2, seed=0, steps=60)
        logits = task.features(model, torch.device("cpu"))["test"]
        truth = task.data.test.labels
        right = float((logits.argmax(1) == truth)[truth < 2].float().mean())
        assert right > 0.9 if expected else right < 0.1


def test_a_run_becomes_a_curve_on_the_page(curve, configure, tmp_path, monkeypatch):
    monkeypatch.setattr(curve.supervised, "__defaults__", (4,))
    train(configure(tmp_path / "run", "trainer.epochs=1", "eval.draws=1"))
    out = tmp_path / "curve.json"
    assert "No results are checked in" in curve.block(out)
    curve.main([str(tmp_path / "run"), "--out", str(out)])
    assert out.with_suffix(".png").stat().st_size > 1000
    text = curve.block(out)
    assert "| labels per class | 1 | 3 |" in text, "a count that a class does not have is left out"
    assert "seeds 0\n" in text
    first = curve.read(out)
    store.write(out, first | {"rows": [{**row, "seed": 1} for row in first["rows"]]}, rows="rows")
    curve.main([str(tmp_path / "run"), "--out", str(out)])
    assert "seeds 0, 1\n" in curve.block(out)
