"""The list of scores, and a score of another package in every place that shows scores."""

import json
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch

from cl_as_gnn.compare import Suite, markdown, rich_table, summarize
from cl_as_gnn.compare.results import picture
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.evaluation import scores
from cl_as_gnn.report import write_report
from cl_as_gnn.tasks import load_task


def median_norm(features):
    """Smaller is better, so that tables must turn its sign."""
    rows = features.get("test", features.get("nodes", features.get("graphs")))
    assert {f"{name}_labels" for name in features if not name.endswith("_labels")} <= features.keys()
    return float(rows.norm(dim=1).median())


FOREIGN = scores.Score("median_norm", "norm", "median length", "down", format=".2f", headline=True, measure=median_norm)
HIDDEN = scores.Score("nothing", "Nothing", "always undefined", measure=lambda features: float("nan"))


@pytest.fixture
def foreign(monkeypatch):
    """Two scores of an installed package."""
    points = [EntryPoint(name, f"{__name__}:{name}", scores.GROUP) for name in ("FOREIGN", "HIDDEN")]
    monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.name])
    monkeypatch.setattr(scores, "entry_points", lambda group: points if group == scores.GROUP else [])
    scores.all_scores.cache_clear()
    yield points
    scores.all_scores.cache_clear()


def test_a_score_of_another_package_is_shown_everywhere(clgnn, foreign, tmp_path, small):
    few = [*small, "data.validation=0.6", "trainer.epochs=1"]
    code, out, err = clgnn("train", *few, "eval.baselines=true", "run_dir=run")
    assert code == 0, err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["median_norm"] > 0
    assert metrics["nothing"] is None
    assert metrics["baselines"]["raw pixels"]["median_norm"] > 0
    assert out.count("norm") == 1
    assert f"{metrics['median_norm']:.2f}" in out
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert f'data-key="median_norm" value="{metrics["median_norm"]!r}"' in page
    other = {**metrics, "median_norm": metrics["median_norm"] + 1}
    config = SimpleNamespace(digest="")
    cells = [
        SimpleNamespace(row=row, seed=s, metrics=m, config=config)
        for s in (0, 1)
        for row, m in zip("ab", (metrics, other), strict=True)
    ]
    suite = Suite(name="two", baseline="a", seeds=(0, 1), runs={"a": {}, "b": {}})
    results = summarize(suite, cells)
    assert results["rows"]["b"]["median_norm"]["delta"] == pytest.approx(1)
    assert "nothing" not in results["rows"]["b"]
    assert "| Δ norm |" in markdown(results)
    assert "+1.00 ± 0.00" in markdown(results)
    assert "norm" in [column.header for column in rich_table(results).columns]
    panel = next(axes for axes in picture(results).axes if axes.get_title().startswith("norm: Δ"))
    assert panel.containers[-1].lines[0].get_color() == "#b03a2e", "a larger norm is worse"


@pytest.mark.parametrize("data", ["karate", "tu"])
def test_a_score_of_another_package_is_measured_on_graphs(foreign, configure, tmp_path, write_tu, data):
    from cl_as_gnn.config import load_config

    root = [f"data.root={write_tu(tmp_path)}"] if data == "tu" else []
    task = load_task(load_config(None, [f"data.name={data}", *root, "encoder.width=8", "eval.draws=1"]))
    rows = task.baselines(torch.device("cpu"))
    assert len(rows) > 1
    assert all(row["median_norm"] > 0 for row in rows.values())


def test_a_key_names_one_score(foreign, monkeypatch):
    monkeypatch.setitem(globals(), "HIDDEN", scores.Score("knn_top1", "mine"))
    with pytest.raises(ConfigError, match=r"cl_as_gnn\.scores define the score 'knn_top1' again"):
        scores.all_scores()


def test_every_number_of_a_run_is_in_the_list(configure, tmp_path):
    from cl_as_gnn.runs.folder import open_run
    from cl_as_gnn.training.fit import train

    metrics = train(configure(tmp_path / "run", "trainer.epochs=1"))
    numbers = {key for key, value in metrics.items() if isinstance(value, int | float)}
    assert numbers | {*open_run(tmp_path / "run").read_history()[0]} <= {*scores.all_scores(), "epoch"}
    assert scores.find_score("gap/train").title == "Gap/train"
