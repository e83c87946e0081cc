"""The findings page holds what the results say."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings():
    return importlib.import_module("benchmarks.findings")


def score(delta, half):
    return {"mean": 90 + delta, "std": 1.0, "delta": delta, "ci95": half}


RESULTS = {
    "suite": "tiny",
    "baseline": "a",
    "seeds": [0, 1],
    "budget": {"view_epochs": 12, "batch_views": 64},
    "dataset": "digits",
    "protocol": "none",
    "versions": {"torch": "2"},
    "machine": {"cores": 2},
    "device": "cpu",
    "precision": "fp32",
    "date": "2026-01-01",
    "baselines": {},
    "rows": {
        "a": {
            **dict.fromkeys(("label1_top1", "label10_top1"), score(0, 0)),
            "knn_top1": score(0, 0),
            "seconds": 10.0,
            "graph_purity": 0.5,
        },
        "b": {"label1_top1": score(2, 1), "knn_top1": score(0.5, 1), "seconds": 15.0, "graph_purity": 0.75},
        "c": {"label1_top1": score(-4, 1), "knn_top1": score(-0.5, 1), "seconds": 5.0},
    },
}


def test_the_page_is_what_the_results_say(findings):
    page = findings.PAGE.read_text(encoding="utf-8")
    assert findings.refreshed(page) == page, "run python -m benchmarks.findings"
    named = {name for _, kind, name, _ in findings.MARKED.findall(page) if kind == "suite"}
    results = {path.stem for path in findings.RESULTS.glob("*.json") if "suite" in json.loads(path.read_text())}
    assert results <= named <= {path.stem for path in (ROOT / "benchmarks" / "suites").glob("*.yaml")}


def test_results_replace_what_was_there_and_nothing_else(findings, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "RESULTS", tmp_path / "results")
    page = "Before.\n<!-- suite: tiny -->\nold\n<!-- end -->\nAfter.\n"
    assert "No results are checked in" in findings.refreshed(page)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "run" / "results.png").write_bytes(b"")
    assert findings.collect(tmp_path / "run") == "tiny"
    new = findings.refreshed(page)
    assert new.startswith("Before.\n<!-- suite: tiny -->\n")
    assert new.endswith("<!-- end -->\nAfter.\n")
    assert "old" not in new
    assert findings.refreshed(new) == new
    assert "results/tiny.png" in new
    assert "1 label, interval clear of zero: above `a`: `b` +2.0; below: `c` -4.0; 0 of 2" in new
    assert "kNN, interval clear of zero: above `a`: none; below: none; 2 of 2 within" in new
    row = next(line for line in new.splitlines() if line.startswith("| `b`"))
    assert re.sub(r"\s", "", row).endswith("|+0.5±1.0|0.75|15|1.50|")


def test_one_seed_has_no_verdict(findings, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "RESULTS", tmp_path)
    for seeds, said in (([0, 1], True), ([0], False)):
        (tmp_path / "tiny.json").write_text(json.dumps({**RESULTS, "seeds": seeds}))
        block = findings.suite_block("tiny")
        assert ("interval clear of zero" in block) == said
        assert ("one seed, top-1" in block) == (not said)


def test_cost_is_a_row_a_method(findings, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "RESULTS", tmp_path)
    rows = {"gat": {"views": 4, "median_s": 0.2, "step_ratio": 2.0, "view_ratio": 1.0}}
    (tmp_path / "cost.json").write_text(json.dumps({"methods": rows, "protocol": "alone"}))
    block = findings.refreshed("<!-- cost: cost -->\n<!-- end -->\n")
    assert "| `gat` | 4 | 200.0 | 2.00 | 1.00 |" in block
    assert "alone." in block
