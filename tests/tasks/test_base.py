"""What every task says about its run."""

import json

import pytest

from cl_as_gnn.config import load_config
from cl_as_gnn.tasks import load_task

KARATE = ["data.name=karate", "trainer.epochs=1", "eval.baselines=false", "eval.draws=2"]


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (["eval.knn_k=4"], []),
        (["eval.knn_k=5"], ["eval.knn_k=5 is capped at 4: there are 4 nodes to look among"]),
        (["eval.knn_k=4", "method.name=gcn", "method.k=33"], []),
        (
            ["eval.knn_k=9", "method.name=gcn", "method.k=40", "trainer.batch_size=8"],
            [
                "eval.knn_k=9 is capped at 4: there are 4 nodes to look among",
                "method.k=40 is capped at 7: there are 7 nodes in the batch beside each",
            ],
        ),
        (
            ["eval.knn_k=1", "method.name=gcn_bank", "method.k=34", "trainer.batch_size=8"],
            ["method.k=34 is capped at 33: there are 33 nodes in the training set beside each"],
        ),
        (["eval.knn_k=1", "method.name=nn_positives", "method.k=400"], []),
    ],
)
def test_a_capped_number_of_neighbors_is_said(settings, lines):
    assert load_task(load_config(None, [*KARATE, *settings])).capped() == lines


def test_a_run_says_it_when_it_happens_and_in_its_protocol(clgnn, tmp_path):
    code, out, _ = clgnn("train", *KARATE, "eval.knn_k=9", "run_dir=run")
    said = "eval.knn_k=9 is capped at 4: there are 4 nodes to look among"
    assert (code, out.count(said)) == (0, 1)
    assert said in json.loads((tmp_path / "run" / "metrics.json").read_text())["protocol"]


def test_images_and_whole_graphs_count_what_they_look_among(tmp_path, write_tu):
    graphs = [*("data.name=tu", f"data.root={write_tu(tmp_path)}"), "eval.knn_k=40"]
    line = "eval.knn_k=40 is capped at 39: there are 39 graphs to look among"
    assert load_task(load_config(None, graphs)).capped() == [line]
    task = load_task(load_config(None, ["eval.knn_k=5000"]))
    assert task.capped() == [f"eval.knn_k=5000 is capped at {task.size}: there are {task.size:,} images to look among"]
