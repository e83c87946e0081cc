import json
from contextlib import closing
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import cl_as_gnn.methods
from cl_as_gnn.compare import load_suite, rich_table, run_suite, runs
from cl_as_gnn.compare.processes import Processes
from cl_as_gnn.compare.progress import SuiteProgress
from cl_as_gnn.compare.results import picture
from cl_as_gnn.compare.runs import _error_line
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.lock import locked
from cl_as_gnn.training.fit import train

assert cl_as_gnn.methods

SUITE = """
name: tiny
baseline: simclr
seeds: [0]
base:
  encoder: {width: 8}
  trainer: {epochs: 1}
  eval: {baselines: false, draws: 1, online_size: 200}
runs:
  simclr: {method: {name: simclr}}
  gcn: {method: {name: gcn, start: 0}}
scores: [i_nce]
curves:
  kNN: [gcn]
"""
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def processes():
    """Their worker imports everything once for all suites of this file."""
    with closing(Processes()) as processes:
        yield processes


@pytest.fixture(autouse=True)
def one_worker(monkeypatch, processes):
    shared = SimpleNamespace(run=processes.run, end=processes.end, close=lambda: None)
    monkeypatch.setattr(runs, "Processes", lambda: shared)


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def test_a_suite_runs_goes_on_and_reports(suite, tmp_path):
    out = tmp_path / "out"
    loaded, cells = load_suite(suite, [], out)
    cells[0].run.path.mkdir(parents=True)
    for file in (cells[0].run.config, cells[0].run.history):  # killed between an epoch's numbers and its checkpoint
        file.write_text("epoch\n")
    results = run_suite(loaded, cells, out, 1, QUIET)
    stamps = {c.run.metrics: c.run.metrics.stat().st_mtime_ns for c in cells}
    cells[1].run.metrics.unlink()
    again = run_suite(loaded, cells, out, 1, QUIET)
    assert all(path.stat().st_mtime_ns == stamps[path] for path in list(stamps)[:1]), "finished runs are kept"
    for row in results["rows"]:
        assert again["rows"][row]["seeds"] == results["rows"][row]["seeds"], "the resumed run has the same numbers"
    assert json.loads((out / "results.json").read_text())["rows"].keys() == {"simclr", "gcn"}
    found = [results["rows"][row]["seeds"]["0"]["knn_top1"] for row in ("gcn", "simclr")]
    assert results["rows"]["gcn"]["knn_top1"]["mean"] == found[0]
    assert results["rows"]["gcn"]["knn_top1"]["delta"] == pytest.approx(found[0] - found[1])
    assert 0 < results["rows"]["gcn"]["i_nce"]["mean"] < 5.55
    assert "| 10 labels | I_NCE, nats | Δ" in (out / "results.md").read_text()
    assert "| `gcn` |" in (out / "results.md").read_text()
    assert (out / "results.png").stat().st_size > 5000
    assert (out / "curves.png").stat().st_size > 5000
    assert 0 < results["rows"]["simclr"]["graph_purity"] < 1
    assert results["rows"]["gcn"]["num_views"] == 2
    _, changed = load_suite(suite, ["optim.lr=0.01"], out)
    with pytest.raises(ConfigError, match="holds other settings"):
        run_suite(loaded, changed, out, 1, QUIET)


def test_runs_without_labels_are_compared_by_what_needs_none(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for i in range(16):
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"photographs/{i}.png")
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE.replace("baselines: false", "baselines: true"))
    suite, cells = load_suite(path, [f"data.root={tmp_path}/photographs"], tmp_path / "out")
    for cell in cells:
        train(cell.config)
    results = run_suite(suite, cells, tmp_path / "out", 1, QUIET)
    title, *table = [line for line in (tmp_path / "out" / "results.md").read_text().splitlines() if "|" in line]
    heads = ["View agreement", "Effective rank", "I_NCE, nats", "Δ View agreement", "Δ Effective rank", "Δ I_NCE, nats"]
    assert title == f"| run | {' | '.join(heads)} | seconds | × |"
    assert {line.count("|") for line in table} == {title.count("|")}
    assert [line.split(" | ")[0] for line in table[1:]] == [
        "| `simclr`",
        "| `gcn`",
        "| untrained encoder",
        "| raw pixels",
    ]
    for cell in cells:
        entry = results["rows"][cell.row]
        assert not [key for key in entry if key.endswith("_top1") or "purity" in key]
        assert entry["view_agreement"]["mean"] == cell.metrics["view_agreement"]
    assert [axes.get_xlabel() for axes in picture(results).axes] == ["%", "", "", "points", "", ""]
    assert not (tmp_path / "out" / "curves.png").exists()
    assert [column.header for column in rich_table(results).columns][1:3] == heads[:2]


def test_a_failed_run_is_named_and_the_others_are_kept(suite, tmp_path):
    loaded, cells = load_suite(suite, [], tmp_path / "out")
    cells[1].run.path.parent.mkdir(parents=True)
    cells[1].run.path.write_text("in the way")
    with pytest.raises(RunError, match=r"1 of 2 runs failed, the first: gcn seed 0: error: "):
        run_suite(loaded, cells, tmp_path / "out", 1, QUIET)
    assert cells[0].metrics is not None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Epoch 1\nerror: no such file\nleaked 4 instances\n", "error: no such file"),
        ("Traceback\nValueError: x\n", "ValueError: x"),
        ("\n", "exit code 139"),
    ],
)
def test_one_line_of_what_a_failed_run_wrote_is_told(text, line):
    assert _error_line(text, 139) == line


def test_a_run_that_stopped_before_its_baselines_goes_on(suite, tmp_path):
    _, (cell, *_) = load_suite(suite, ["eval.baselines=true"], tmp_path / "out")
    cell.run.path.mkdir(parents=True)
    texts = dict.fromkeys(("method", "dataset", "protocol"), "as run")
    scores = {**texts, "config_digest": cell.config.digest, "versions": {}, "seconds": 1.0, "epochs": 1, "seed": 0}
    scores["knn_top1"] = 90.0
    cell.run.metrics.write_text(json.dumps(scores))
    assert cell.metrics is None
    cell.run.metrics.write_text(json.dumps(scores | {"baselines": {}}))
    assert cell.metrics is not None
    cell.run.metrics.write_text("{}")
    with pytest.raises(RunError, match="holds no scores of a run"):
        assert cell.metrics


def test_two_suites_do_not_share_a_folder(suite, tmp_path):
    loaded, cells = load_suite(suite, [], tmp_path / "out")
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(ConfigError, match="out is in use by another process"):
        run_suite(loaded, cells, tmp_path / "out", 1, QUIET)


def test_the_bar_moves_with_the_epochs_of_the_runs(suite, tmp_path):
    _, cells = load_suite(suite, ["trainer.epochs=8"], tmp_path / "out")
    console = Console(file=StringIO(), force_terminal=True, width=80)
    with SuiteProgress("tiny", cells, cells, console) as progress:
        history = cells[0].run.history
        history.parent.mkdir(parents=True)
        history.write_text("epoch,loss\n1,2\n2,1\n")
        progress.show()
        assert (progress.bar.tasks[0].completed, progress.bar.tasks[0].total) == (2, 16)
        progress.ended(cells[0], failed=False)
        progress.show()
        assert progress.bar.tasks[0].completed == 8
    assert "1/2 runs, epoch 8/16" in console.file.getvalue()
    console = Console(file=StringIO(), width=80)
    with SuiteProgress("tiny", cells, cells, console) as progress:
        progress.show()
        progress.ended(cells[1], failed=True)
    said = console.file.getvalue()
    assert said == "0/2 runs: gcn seed 0 failed\n", "a line per run in a pipe, no control characters"
