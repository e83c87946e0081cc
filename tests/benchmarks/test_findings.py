"""Results of suites and of the cost become blocks of the findings page."""

import importlib
import json
import re

import pytest


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
    "versions": {"cl-as-gnn": "0", "torch": "2"},
    "machine": {"processor": "x86_64", "cores": 2},
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


def test_a_folder_of_results_becomes_a_block(findings, tmp_path):
    results = tmp_path / "results"
    assert "No results are checked in" in findings.suite_block("tiny", results)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "run" / "results.png").write_bytes(b"")
    assert findings.collect(tmp_path / "run", results) == "tiny"
    block = findings.suite_block("tiny", results)
    assert "results/tiny.png" in block
    assert "1 label, interval clear of zero: above `a`: `b` +2.0; below: `c` -4.0; 0 of 2" in block
    assert "kNN, interval clear of zero: above `a`: none; below: none; 2 of 2 within" in block
    row = next(line for line in block.splitlines() if line.startswith("| `b`"))
    assert re.sub(r"\s", "", row).endswith("|+0.5±1.0|0.75|15|1.50|")


def test_rows_are_paired_with_their_hosts(findings):
    def seeds(*values):
        return {"seeds": {str(i): {"linear_top1": 50.0, "knn_top1": value} for i, value in enumerate(values)}}

    known = {"linear_top1": score(0, 0), "knn_top1": score(0, 0)}
    rows = {"a": known | seeds(1, 1), "b": seeds(3, 4, 9), "c": seeds(4, 7), "d": seeds(9, 11, 15), "e": seeds(5)}
    text = findings.against_hosts({"baseline": "a", "rows": rows}, dict.fromkeys("cde", "b"))
    assert [re.sub(r"[ \n]", "", line) for line in text.splitlines()] == [
        "|difference|n|linear|kNN|",
        "|---|---:|---:|---:|",
        "|`c`−`b`|2|+0.0±0.0|+2.0±12.7|",
        "|`d`−`b`|3|+0.0±0.0|**+6.3±1.4**|",
        "|`e`−`b`|1|+0.0|+2.0|",
    ]


def test_one_seed_has_no_verdict(findings, tmp_path):
    for seeds, said in (([0, 1], True), ([0], False)):
        (tmp_path / "tiny.json").write_text(json.dumps({**RESULTS, "seeds": seeds}))
        block = findings.suite_block("tiny", tmp_path)
        assert ("interval clear of zero" in block) == said
        assert ("one seed, top-1" in block) == (not said)


def test_cost_is_a_row_per_method(tmp_path):
    cost = importlib.import_module("benchmarks.cost")
    assert "No results are checked in" in cost.block(tmp_path / "cost.json")
    rows = {"gat": {"views": 4, "median_s": 0.2, "step_ratio": 2.0, "view_ratio": 1.0}}
    (tmp_path / "cost.json").write_text(json.dumps({"methods": rows, "protocol": "alone"}))
    block = cost.block(tmp_path / "cost.json")
    assert "| `gat` | 4 | 200.0 | 2.00 | 1.00 |" in block
    assert "alone." in block
