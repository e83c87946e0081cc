import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

import cl_as_gnn.methods
from cl_as_gnn.compare import interval, load_suite, run_suite
from cl_as_gnn.errors import ConfigError, RunError

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
"""
QUIET = Console(quiet=True)


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def test_runs_differ_only_in_what_is_compared(suite, tmp_path):
    _, cells = load_suite(suite, ["optim.lr=0.01", "seeds=[3, 4]"], tmp_path / "out")
    assert [(c.row, c.seed) for c in cells] == [("simclr", 3), ("simclr", 4), ("gcn", 3), ("gcn", 4)]
    trees = [c.config.model_dump(exclude={"method", "seed", "run_dir"}) for c in cells]
    assert all(tree == trees[0] for tree in trees)
    assert cells[0].config.optim.lr == 0.01


def test_a_suite_runs_goes_on_and_reports(suite, tmp_path):
    out = tmp_path / "out"
    loaded, cells = load_suite(suite, [], out)
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
    assert "| `gcn` |" in (out / "results.md").read_text()
    assert (out / "results.png").stat().st_size > 5000
    _, changed = load_suite(suite, ["optim.lr=0.01"], out)
    with pytest.raises(ConfigError, match="holds other settings"):
        run_suite(loaded, changed, out, 1, QUIET)


def test_interval_is_students():
    values = [1.0, 2.0, 4.0, 3.5, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, half = interval(values)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))
    assert np.isnan(interval([1.0])[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SUITE.replace("baseline: simclr", "baseline: moco"), "baseline 'moco' is none of its runs: simclr, gcn"),
        (SUITE.replace("baseline", "base_line"), "baseline: field required"),
        (SUITE.replace("start: 0", "strat: 0"), "did you mean method.start?"),
        (SUITE.replace("seeds: [0]", "seeds: []"), "seeds: "),
    ],
)
def test_mistakes_are_found_before_anything_runs(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_suite(path, [], tmp_path / "out")


def test_a_failed_run_is_named_and_the_others_are_kept(suite, tmp_path):
    loaded, cells = load_suite(suite, [], tmp_path / "out")
    cells[1].run.path.parent.mkdir(parents=True)
    cells[1].run.path.write_text("in the way")
    with pytest.raises(RunError, match=r"1 of 2 runs failed, the first: gcn seed 0: error: "):
        run_suite(loaded, cells, tmp_path / "out", 1, QUIET)
    assert cells[0].metrics is not None
