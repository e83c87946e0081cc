"""The page of a run: what is on it, that it stands alone, and what it does without a finished run or its images."""

import base64
import hashlib
import json
import re
import shutil
import sys
from functools import partial
from xml.etree import ElementTree

import pytest
import torch

from cl_as_gnn import cli
from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import load_images
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.report import write_report as write_page
from cl_as_gnn.report.shown import Samples, Shown
from cl_as_gnn.training.fit import train

write_report = partial(write_page, plane="pca")  # t-SNE takes seconds
TINY = ["encoder.width=8", "trainer.epochs=2", "eval.draws=2", "eval.online_size=300", "method.k=4"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, with baselines."""
    path = tmp_path_factory.mktemp("runs") / "run"
    train(load_config(None, [*TINY, f"run_dir={path}"]))
    return path


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """The page of the finished run."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    write_report(finished, out)
    return parse(out)


def parse(path):
    """The page as a tree: it is well-formed, so every element is closed and every text escaped."""
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def text(element):
    """What a reader sees."""
    data = {script.text for script in element.iter("script")}
    return " ".join(" ".join(part for part in element.itertext() if part not in data).split())


def data_of(page):
    """The data of each map."""
    return [json.loads(s.text) for s in page.iter("script") if s.get("type") == "application/json"]


def headings(page):
    return [h.text for h in page.iter("h2")]


def leaves(tree, prefix=""):
    """Every number of nested JSON under its path."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield prefix + key, value


def test_every_number_of_the_run_is_there_and_no_other(whole, finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    shown = {d.get("data-key"): d for d in whole.iter("data")}
    assert {key: float(d.get("value")) for key, d in shown.items()} == dict(leaves(metrics | {"config": {}})), (
        "settings are text"
    )
    for key, d in shown.items():
        readable = float(d.text.replace(",", "").replace("−", "-"))
        rounded = 0.5 if key in ("seconds", "images_per_second") else 0.051
        assert readable == pytest.approx(float(d.get("value")), rel=1e-3, abs=rounded), key
    scores = next(t for t in whole.iter("table") if t.get("class") == "scores")
    rows = {r[0].text: [d.text for d in r.iter("data")] for r in scores.iter("tr")}
    for name in ("untrained encoder", "raw pixels"):
        keys = ("knn_top1", "linear_top1", "label1_top1", "label10_top1", "propagated1_top1", "propagated10_top1")
        assert rows[name] == [f"{metrics['baselines'][name][key]:.1f}" for key in keys]
    assert metrics["protocol"] in text(whole)
    assert all(f"{name} {version}" in text(whole) for name, version in metrics["versions"].items())


def test_it_stands_alone_and_is_small(whole, finished, tmp_path):
    sources = [v for e in whole.iter() for k, v in e.attrib.items() if k in ("src", "href", "srcset", "data", "action")]
    assert len(sources) > 40, "the graph and the neighbors are pictures"
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not list(whole.iter("link"))
    (code,) = (s for s in whole.iter("script") if s.get("type") is None)
    policy = next(m.get("content") for m in whole.iter("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    write_report(finished, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\((?!#)|@import|fetch\(|XMLHttp|import\(", page)
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert script.replace("<![CDATA[", "").replace("]]>", "") == code.text
    assert len(page.encode()) < 500_000


def test_pictures_say_what_they_show(whole):
    assert all(image.get("alt") for image in whole.iter("img") if image.get("hidden") is None)
    assert all(s.get("aria-label") and s.get("role") in ("img", "group") for s in whole.iter("svg"))
    for t in whole.iter("table"):
        assert t.find("caption") is not None
        assert all(head.get("scope") == "col" for head in t.find("thead").iter("th"))
    assert whole.get("lang") == "en"


def test_wrong_neighbors_are_marked_and_only_they(whole):
    grid = next(t for t in whole.iter("table") if t.get("class") == "neighbors")
    rows = list(grid.find("tbody"))
    assert len(rows) == 8
    for row in rows:
        query, *found = [next(s for s in cell if s.tag == "span") for cell in row]
        assert len(found) == 5
        for span in found:
            assert (span.text.removeprefix("✗ ") != query.text) == (span.get("class") == "wrong")
            assert span.text.startswith("✗ ") == (span.get("class") == "wrong")


def test_the_map_is_of_the_scored_images(whole, finished):
    (data,) = data_of(whole)
    images = load_images(load_config().data, progress=False)
    count = len(data["labels"])
    assert data["labels"] == images.test.labels.tolist()
    assert [coloring["name"] for coloring in data["colorings"]] == ["class", "right or wrong", "cluster"]
    for coloring in data["colorings"]:
        for values in coloring["values"]:
            assert len(values) == count
            assert set(values) <= set(range(len(coloring["colors"])))
            assert len(coloring["colors"]) == len(coloring["names"])
    (run,) = data["runs"]
    assert [plane["name"] for plane in run["planes"]] == ["PCA"]
    assert all(len(plane["points"]) == 2 * count for plane in run["planes"])
    assert all(i not in near for i, near in enumerate(run["near"]))
    assert {len(near) for near in run["near"]} == {6}
    # The prediction of each image is that of the kNN score.
    right = sum(a == b for a, b in zip(run["predicted"], data["labels"], strict=True))
    metrics = json.loads((finished / "metrics.json").read_text())
    assert 100 * right / count == pytest.approx(metrics["knn_top1"])
    grid = next(t for t in whole.iter("table") if t.get("class") == "confusion")
    cells = [[int(text(cell).replace("·", "0")) for cell in row[1:]] for row in grid.find("tbody")]
    assert sum(row[i] for i, row in enumerate(cells)) == right
    assert [sum(row) for row in cells] == torch.bincount(images.test.labels).tolist()
    errors = next(s for s in whole.iter("section") if s.find("h2").text == "The surest errors")
    assert len(list(errors.iter("figure"))) == min(12, count - right)


def test_a_sample_of_the_bank_is_no_neighbor_of_its_own():
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(30, 6), dim=1)
    x[7] = x[3]
    samples = Samples(x, torch.arange(30) % 3, tuple(map(str, range(30))), lambda at: at)
    rows = torch.arange(30)
    inside = Shown(None, samples, samples, rows, ("a", "b", "c"), "whole", 30).nearest(rows, 4)
    apart = Shown(None, samples, samples, torch.full((30,), -1), ("a", "b", "c"), "test", 30).nearest(rows, 4)
    assert not (inside[1] == rows[:, None]).any()
    assert inside[1].shape == (30, 4)
    assert inside[1][3, 0] == 7
    assert {int(apart[1][3, 0]), int(apart[1][3, 1])} == {3, 7}


def test_every_numeric_column_has_a_chart(run):
    csv = "epoch,loss,online_knn,note,gap/attract,gap/repel,graph_energy,bad\n"
    csv += "1,5,,x,1,2,0.5,nan\n2,4,70,x,0.5,1,0.25,inf\n3,3.5,75,x,0.25,,0.125,nan\n"
    (run / "metrics.csv").write_text(csv)
    (run / "metrics.json").unlink()
    write_report(run)
    page = parse(run / "report.html")
    charts = {s.get("aria-label").split(" by epoch: ")[0]: s for s in page.iter("svg")}
    assert set(charts) == {"Loss", "Online kNN, %", "Gap", "Dirichlet energy"}
    lines = {name: [p.get("d") for p in s.iter("path") if p.get("class") == "line"] for name, s in charts.items()}
    assert {name: len(d) for name, d in lines.items()} == {
        "Loss": 1,
        "Online kNN, %": 1,
        "Gap": 2,
        "Dirichlet energy": 1,
    }
    # Values 5, 4, 3.5 in epochs 1, 2, 3: equal steps to the right, downwards two to one.
    points = [tuple(map(float, p.split())) for p in lines["Loss"][0][1:].split("L")]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert x1 > x0
    assert y1 - y0 == pytest.approx(2 * (y2 - y1), abs=0.3)
    assert y1 > y0
    assert "attract 1 in epoch 1, 0.25 in epoch 3; repel 2 in epoch 1, 1 in epoch 2" in charts["Gap"].get("aria-label")


def test_what_differs_from_the_defaults_comes_first(whole):
    settings = next(s for s in whole.iter("section") if s.find("h2").text == "Settings")
    rows = [[text(cell) for cell in row] for row in settings.find("div").iter("tr")][1:]
    assert rows == [
        ["encoder.width", "8", "32"],
        ["method.k", "4", str(load_config().method.k)],
        ["trainer.epochs", "2", "100"],
        ["eval.draws", "2", "10"],
        ["eval.online_size", "300", "2000"],
    ]
    assert "uniformity" not in text(settings)
    assert "weight_decay: 0.0001" in text(settings.find("details"))


def test_an_unfinished_run_gets_what_there_is(run):
    (run / "metrics.json").unlink()
    (run / "encoder.safetensors").unlink()
    lines = write_report(run)
    page = parse(run / "report.html")
    assert headings(page) == ["By epoch", "Settings"]
    assert lines[1] in text(page)
    assert "2 of 2 epochs are done" in lines[1]
    assert lines[1].endswith(f"clgnn train resume={run}")
    assert "has not finished" in lines[1]
    (run / "metrics.csv").unlink()
    write_report(run)
    assert "No epoch has ended yet" in text(parse(run / "report.html"))


def test_without_its_images_or_encoder_a_run_gets_the_rest(run):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("root: null", "root: gone"))
    lines = write_report(run)
    page = parse(run / "report.html")
    assert headings(page) == [
        "Accuracy",
        "By epoch",
        "Message passing",
        "Geometry of the features",
        "Settings",
        "Made with",
    ]
    assert lines[1].startswith("No pictures: data.root=gone does not exist")
    assert lines[1] in text(page)
    config.write_text(config.read_text().replace("root: gone", "root: null"))
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(str(run / "encoder.safetensors"), framework="pt") as file:
        meta = file.metadata()
    save_file({"other": torch.zeros(1)}, run / "encoder.safetensors", metadata=meta)
    lines = write_report(run)
    assert "does not fit the encoder 'small' of this version" in lines[1]


def test_whatever_is_text_is_escaped(run):
    metrics = json.loads((run / "metrics.json").read_text())
    evil = "<script>alert('&')</script>"
    metrics |= {"protocol": evil, "dataset": evil, "device": evil, "versions": {evil: evil}, "config_digest": evil}
    metrics["baselines"] = {evil: metrics["baselines"]["raw pixels"]}
    metrics[evil] = 3.0
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "metrics.csv").write_text(f"epoch,{evil}\n1,2\n2,3\n")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("root: null", f'root: "{evil}"'))
    write_report(run)
    page = parse(run / "report.html")
    assert not [script for script in page.iter("script") if "alert" in script.text]
    assert text(page).count(evil) >= 10


def test_numbers_that_are_not_there(run):
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["baselines"]
    metrics |= {"label10_top1": None, "images_per_second": None}
    (run / "metrics.json").write_text(json.dumps(metrics))
    write_report(run)
    page = text(parse(run / "report.html"))
    assert "eval.baselines=false" in page
    assert "–" in page
    assert "None" not in page


def test_mistakes(finished, tmp_path):
    with pytest.raises(ConfigError, match=r"name the file page\.html"):
        write_report(finished, tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="does not exist"):
        write_report(finished, tmp_path / "none" / "page.html")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write_report(finished, tmp_path / "page.html")


def test_the_command(run, tmp_path, monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["clgnn", "report", *map(str, words)])
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    code, out, err = call(run, "--map", "pca")
    assert code == 0, err
    assert out.startswith(f"{run}/report.html: ")
    code, _, err = call(tmp_path / "missing")
    assert code == 2
    assert err.startswith("error: no run folder")
    assert len(err.splitlines()) == 1
    code, _, err = call(tmp_path)
    assert code == 2
    assert "is not a run folder" in err


def test_a_run_without_labels_has_pictures_and_no_classes(bare, configure, tmp_path):
    path = tmp_path / "bare"
    metrics = train(configure(path, "data.name=bare", "eval.baselines=true"))
    write_report(path)
    page = parse(path / "report.html")
    assert headings(page)[0] == "Scores without labels"
    assert {"Message passing", "Map of the features", "Nearest neighbors"} <= set(headings(page))
    next(p for p in page.iter("p") if p.get("class") == "reading").clear()  # of the method
    assert not re.search(
        r"\bclass(es)?\b|kNN|[Aa]ccuracy|online_knn", text(page.find("body/main")).split("Settings")[0]
    )
    shown = {d.get("data-key"): float(d.get("value")) for d in page.iter("data")}
    assert shown == dict(leaves(metrics | {"config": {}})), "settings are text"
    (data,) = data_of(page)
    assert data["pictures"] is True
    assert set(data["labels"]) == {-1}
    assert [coloring["name"] for coloring in data["colorings"]] == ["cluster"]
    assert "predicted" not in data["runs"][0]
    grid = next(t for t in page.iter("table") if t.get("class") == "neighbors")
    for row in grid.find("tbody"):
        query, *found = [cell.find("img") for cell in row]
        assert len(found) == 5
        assert query.get("alt") not in {image.get("alt").replace("neighbor", "query") for image in found}


def test_long_labels_of_a_chart_have_room():
    from cl_as_gnn.report.markup import line_chart

    chart = ElementTree.fromstring(line_chart("Loss", {"loss": [(1, -0.00012345), (2, -0.00012305)]}))
    labels = [t for t in chart.iter("text") if t.get("text-anchor") == "end" and t.text != "epoch"]
    assert max(len(t.text) for t in labels) > 8
    assert all(float(t.get("x")) >= 8 * len(t.text) for t in labels)
