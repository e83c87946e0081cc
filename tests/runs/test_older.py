"""Runs of earlier versions load. ``version_0_1`` was written by 0.1.0: a whole run of two epochs, with the checkpoint
after the first of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from cl_as_gnn.config.older import stored_names, stored_state
from cl_as_gnn.errors import RunError
from cl_as_gnn.report import write_report
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import evaluate_run
from cl_as_gnn.training.fit import continue_run

STORED = Path(__file__).with_name("version_0_1")
SCORES = ("knn_top1", "linear_top1", "label1_top1", "label10_top1")


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(STORED, tmp_path / "run"))


def test_a_run_of_0_1_is_scored_and_reported(run):
    before = json.loads((run / "metrics.json").read_text())
    scores = evaluate_run(run, Console(quiet=True))
    # Of 809 images one or two may be on the other side with other sums.
    assert {key: scores[key] for key in SCORES} == pytest.approx({key: before[key] for key in SCORES}, abs=0.3)
    write_report(run)
    page = (run / "report.html").read_text()
    assert "No pictures" not in page
    assert "0.1.0" in page


def test_a_run_of_0_1_goes_on_to_the_numbers_that_it_would_have_had(run):
    before = open_run(run).load_metrics()
    rows = open_run(run).read_history()
    (run / "metrics.json").unlink()
    folder, metrics = continue_run(run, {})
    assert (metrics["method"], metrics["epochs"]) == ("gat_nn_positives", 2)
    assert metrics["loss"] == pytest.approx(before["loss"], rel=1e-3)
    assert metrics["knn_top1"] == pytest.approx(before["knn_top1"], abs=2)
    again = folder.read_history()
    assert again[0]["loss"] == rows[0]["loss"]
    assert float(again[1]["graph_energy"]) == pytest.approx(float(rows[1]["graph_energy"]), rel=0.02)
    assert open_run(run).load_config().method.queue_size == 1024


def test_names_of_0_1():
    old = {"method": {"name": "hardneg", "sharpness": 2}, "encoder": {"name": "resnet18", "width": 8}}
    assert stored_names(old) == {"method": {"name": "hardneg", "beta": 2}, "encoder": {"name": "resnet18"}}
    assert old["method"] == {"name": "hardneg", "sharpness": 2}
    assert stored_names({"method": {"name": "align_uniform", "sharpness": 2}})["method"]["t"] == 2
    assert stored_names({"data": {"normalise": False}})["data"] == {"normalize": False}
    assert stored_names({"method": {"name": "gcn", "gate": 0.2}})["method"] == {
        "agreed": False,
        "gate": 0.2,
        "name": "gcn",
    }
    for strange in ({"method": {"name": ["rewire"]}}, {"data": "digits"}, {"encoder": {"name": None}}, {}):
        assert stored_names(strange) == strange
    for method, name in (("meanshift", "queue"), ("gcn_bank", "bank")):
        state = {"method.bank.features": 1, "method.encoder.weight": 2}
        stored_state(state, method)
        assert state == {f"method.{name}.features": 1, "method.encoder.weight": 2}


def test_weights_of_another_shape_are_one_line(run):
    """As those from before the release of 0.1, whose small encoder had other layers."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("width: 8", "width: 16"))
    checkpoint = run / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)
    state["cl_as_gnn"]["config"]["encoder"]["width"] = 16
    torch.save(state, checkpoint)
    (run / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"last\.ckpt does not fit the method 'gat_nn_positives' of this version"):
        continue_run(run, {})
