"""The page of several runs: spread over seeds, settings that differ, curves and maps of the same samples."""

import json
from pathlib import Path
from statistics import mean, stdev
from xml.etree import ElementTree

import pytest
import torch

from cl_as_gnn.config import build_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.report import write_report
from cl_as_gnn.report.scores import Run, compared_scores
from cl_as_gnn.runs.folder import RunFolder


@pytest.fixture(scope="module")
def page(three, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    (line,) = write_report(three, out, plane="pca")
    assert line.startswith(str(out))
    return ElementTree.fromstring(out.read_text(encoding="utf-8"))


def cells(page, kind):
    table = next(t for t in page.iter("table") if kind in (t.get("class") or "").split())
    return {"".join(row[0].itertext()): ["".join(cell.itertext()) for cell in row[1:]] for row in table.find("tbody")}


def section(page, heading):
    return next(s for s in page.iter("section") if s.find("h2").text == heading)


def test_mean_and_deviation_are_over_runs_that_differ_in_the_seed_only(page, three):
    metrics = [json.loads((path / "metrics.json").read_text()) for path in three]
    rows = cells(page, "compared")
    assert list(rows) == ["gcn, 2 seeds", "gcn/seed0, seed 0", "gcn/seed1, seed 1", "simclr/seed0"]
    values = [m["knn_top1"] for m in metrics]
    assert rows["gcn, 2 seeds"][0] == f"{mean(values[:2]):.1f} ± {stdev(values[:2]):.1f}"
    assert rows["gcn/seed1, seed 1"][0] == f"{values[1]:.1f}"
    assert rows["simclr/seed0"][0] == f"{values[2]:.1f}"


def test_settings_that_are_the_same_are_left_out(page):
    table = section(page, "Settings that differ").find("div/table")
    rows = {row[0].find("code").text: ["".join(cell.itertext()) for cell in row[1:]] for row in table.find("tbody")}
    assert rows["method.name"] == ["gcn", "gcn", "simclr"]
    assert rows["seed"] == ["0", "1", "0"]
    assert rows["method.k"][2] == "–"
    assert "trainer.epochs" not in rows


def test_curves_share_their_charts_and_maps_their_samples(page, three):
    charts = [json.loads(s.get("data-chart")) for s in page.iter("svg")]
    assert set(charts[0]["curves"]) == {"gcn/seed0", "gcn/seed1", "simclr/seed0"}
    (data,) = (json.loads(s.text) for s in page.iter("script") if s.get("type") == "application/json")
    assert [run["label"] for run in data["runs"]] == ["gcn/seed0", "gcn/seed1", "simclr/seed0"]
    assert data["runs"][0]["planes"][0]["points"] != data["runs"][1]["planes"][0]["points"]
    names = [coloring["name"] for coloring in data["colorings"]]
    assert names[:3] == ["class", "right or wrong", "own clusters"]
    assert names[3:] == [f"clusters of {run['label']}" for run in data["runs"]]
    assert len({len(run["near"]) for run in data["runs"]} | {len(data["labels"])}) == 1


def test_runs_on_other_samples_get_a_map_of_their_own(three, write_planetoid, tmp_path, configure):
    from cl_as_gnn.training.fit import train

    train(configure(tmp_path / "karate", "data.name=karate", "encoder.name=gcn"))
    lines = write_report([three[0], tmp_path / "karate"], tmp_path / "page.html", plane="pca")
    assert lines[1].startswith("The runs show different samples")
    page = ElementTree.fromstring((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len([f for f in page.iter("figure") if f.get("class") == "feature-map"]) == 2


def test_mistakes(three, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="is named twice"):
        write_report([three[0], three[0]])
    monkeypatch.setattr("cl_as_gnn.report.plane.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--map umap expects the package umap-learn: pip install"):
        write_report(three[0], tmp_path / "page.html", plane="umap")
    with pytest.raises(ConfigError, match="--map blob: choose auto, umap, tsne, pca"):
        write_report(three[0], tmp_path / "page.html", plane="blob")


def test_umap_where_it_is_installed():
    pytest.importorskip("umap")
    from cl_as_gnn.report.plane import planes

    x = torch.nn.functional.normalize(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    found = planes(x)
    assert list(found) == ["UMAP", "PCA"]
    assert found["UMAP"].shape == (40, 2)


def test_what_else_was_measured_does_not_part_runs():
    def run(seed, metrics, **evaluated):
        config = build_config({"seed": seed, "eval": evaluated})
        scores = {"protocol": "p", "knn_top1": 90.0 + seed, **metrics}
        return Run(f"seed{seed}", RunFolder(Path("nowhere")), config, scores, [])

    pixels = {"baselines": {"raw pixels": {"knn_top1": 50.0}}}
    runs = [run(0, {}, baselines=False), run(1, pixels), run(2, {}, baselines=False, online_every=5)]
    text = compared_scores(runs)
    assert "gcn, 3 seeds" in text
    assert text.count(">raw pixels<") == 1
    assert run(3, {}, draws=3).setting != runs[0].setting
