"""Few labels to all: each rule on separate blobs, and the table."""

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def labels():
    return import_module("benchmarks.labels")


def test_every_rule_labels_blobs_from_one_row_of_each(labels):
    y = torch.arange(90) % 3
    x = F.normalize(torch.eye(3, 5)[y] + 0.1 * torch.randn(90, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    rows, graph = torch.tensor([0, 1, 2]), labels.affinity_graph(x)
    for name, rule in labels.RULES.items():
        assert labels.accuracy(rule(x, graph, rows, 3, y), y, rows) == 100, name
        assert labels.accuracy(rule(x, graph, rows, 3, y.flip(0)), y, rows) < 50, name


def test_rows_with_a_given_label_do_not_count(labels):
    assert labels.accuracy(torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 1, 1, 0]), torch.tensor([0])) == pytest.approx(
        100 / 3
    )


def test_a_run_becomes_a_row_of_the_page(labels, clgnn, small, tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "COUNTS", (1,))
    monkeypatch.setattr(labels, "DRAWS", 2)
    for seed in (0, 1):
        assert clgnn("train", *small, f"seed={seed}", f"run_dir=run{seed}")[0] == 0
    out = tmp_path / "labels.json"
    assert "No results are checked in" in labels.block("digits", out)
    labels.main(["run0", "run1", "--out", str(out)])
    name = labels.read(out)["rows"][0]["data"]
    text = labels.block(name, out)
    assert "| propagation, selected |" in text
    assert "seeds 0, 1" in text
    times = [row["cpu_seconds"] for row in labels.read(out)["rows"]]
    labels.main(["run1", "--out", str(out)])
    again = labels.read(out)
    for row, time in zip(again["rows"], times, strict=True):
        row["cpu_seconds"] = time  # all that another measurement may change
    labels.write(out, again)
    assert labels.block(name, out) == text
