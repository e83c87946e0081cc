"""The benchmarks on nodes and on whole graphs run, go on where they stopped, and make their tables."""

import importlib
import json
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.methods import METHODS, Batch
from cl_as_gnn.nn.functional import nt_xent
from cl_as_gnn.training.module import ContrastiveModule

SMALL = ("encoder.width=8", "encoder.out_width=8", "trainer.epochs=2", "encoder.projector_dim=8")


def graph_ssl(module):
    return importlib.import_module(f"benchmarks.graph_ssl.{module}")


@pytest.fixture(scope="module", autouse=True)
def the_registry_stays_as_it_is():
    """The benchmark has a method of its own, which is none of the package's."""
    yield
    if "grace_autograd" in METHODS:
        METHODS.remove("grace_autograd")


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_planetoid):
    folder = tmp_path_factory.mktemp("planetoid")
    write_planetoid(folder)
    return write_planetoid(folder, "CiteSeer")


def test_grace_by_autograd_is_the_same_loss_with_the_same_gradient(root, tmp_path):
    runs = graph_ssl("runs")
    configs = [
        runs.configure("cora", root, (f"method.name={name}", *SMALL), 0, tmp_path / name)
        for name in ("simclr", "grace_autograd")
    ]
    first, second = (runs.settings(config) for config in configs)
    assert {**first, "method": None} == {**second, "method": None}
    assert {**first["method"], "name": None} == {**second["method"], "name": None}
    losses, grads = [], []
    for config in configs:
        task = runs.task_of(config)
        torch.manual_seed(0)
        module = ContrastiveModule(config, task)
        sample = torch.arange(50)
        loss, _ = module.method(Batch(module.augment(sample, 2), sample, 0.0, None))
        loss.backward()
        losses.append(loss)
        grads.append(torch.cat([p.grad.flatten() for p in module.method.parameters()]))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-6, rtol=1e-4)


def test_transcription_is_nt_xent():
    x = F.normalize(torch.randn(24, 5, dtype=torch.double, generator=torch.Generator().manual_seed(0)), dim=1)
    node = torch.arange(12)
    edges = torch.stack([torch.cat([node + 12, node]), torch.cat([node, node + 12])])
    a, b = x.chunk(2)
    within, across = torch.exp(a @ a.t() / 0.4), torch.exp(a @ b.t() / 0.4)
    back = torch.exp(b @ b.t() / 0.4)
    one = -torch.log(across.diagonal() / (within.sum(1) + across.sum(1) - within.diagonal()))
    two = -torch.log(across.diagonal() / (back.sum(1) + across.sum(0) - back.diagonal()))
    torch.testing.assert_close((one + two).mean() / 2, nt_xent(x, edges, 0.4))


def test_nodes_then_splits_from_the_same_runs(root, tmp_path, monkeypatch):
    nodes, splits = graph_ssl("nodes"), graph_ssl("splits")
    monkeypatch.setattr(nodes, "stopped_probe", partial(nodes.stopped_probe, steps=20))
    row = "GRACE"
    out, said = tmp_path / "nodes.json", []
    wanted = {"seeds": 1, "rows": (row,), "extra": SMALL, "runs": tmp_path / "runs"}
    nodes.run(root, out, data=("cora",), say=said.append, **wanted)
    content = nodes.run(root, out, say=said.append, **wanted)
    assert len(said) == 2, "what is there is not run again"
    assert json.loads(out.read_text()) == content
    assert [(r["data"], r["seed"]) for r in content["runs"]] == [("cora", 0), ("citeseer", 0)]
    table = nodes.table(content)
    assert f"| {row} | " in table
    assert "floor: AᵏX" in table
    assert "published: CCA-SSG | 83.9 | 73.1" in table
    assert all(0 < r["stopped_top1"] <= r["lenient_top1"] <= 100 for r in content["runs"])
    assert f"| {row} | " in nodes.probes(content)
    monkeypatch.setattr(splits, "FOLDER", tmp_path / "splits")
    monkeypatch.setattr(splits, "draw", partial(splits.draw, count=2))
    splits.keep("cora", 700)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("metrics.json")}
    content = splits.run(root, tmp_path / "splits.json", data=("cora",), say=said.append, **wanted)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("metrics.json")} == before
    assert all(len(r["test"]) == 2 for r in content["runs"])
    assert "floor: AᵏX" in splits.table(content)
    assert "floor: untrained encoder" in splits.table(content)


def test_splits_are_of_the_size_they_say():
    splits = graph_ssl("splits")
    for name, nodes in (("cora", 2708), ("citeseer", 3327)):
        kept = splits.masks(name, nodes)
        assert json.loads((splits.FOLDER / f"{name}.json").read_text())["splits"] == splits.draw(nodes)
        assert len(kept) == 5
        for train, validation, test in kept:
            assert int(train.sum()) == int(validation.sum()) == round(nodes / 10)
            assert ((train.int() + validation.int() + test.int()) == 1).all()
    with pytest.raises(ValueError, match="is of a graph of 2708 nodes, and this one has 5"):
        splits.masks("cora", 5)


def test_graphs(tmp_path, write_tu, monkeypatch):
    graphs = graph_ssl("graphs")
    monkeypatch.setattr(graphs, "cross_validated_svm", partial(graphs.cross_validated_svm, folds=2))
    root = write_tu(tmp_path / "data")
    small = ("encoder.width=4", "trainer.epochs=1", "encoder.projector_dim=8")
    content = graphs.run(root, tmp_path / "g.json", 1, ("MUTAG",), small, tmp_path / "runs", say=lambda line: None)
    assert [r["row"] for r in content["runs"]] == list(graphs.ROWS)
    assert "published: GraphCL | 86.8 | 74.4" in graphs.table(content)


def test_rare_words_weigh_more(root, tmp_path, monkeypatch):
    nodes, runs, seen = graph_ssl("nodes"), graph_ssl("runs"), []
    config = runs.configure("cora", root, SMALL, 0, tmp_path / "run")
    monkeypatch.setattr(nodes, "propagated", lambda graph: seen.append(graph.x) or [graph.x])
    assert nodes.rare_words(config)["k"] == 0
    words = runs.task_of(config).graph.x
    for node in range(3):
        weights = [
            float(count) * math.log(len(words) / max(1, int((words[:, word] > 0).sum())))
            for word, count in enumerate(words[node])
        ]
        expected = torch.tensor(weights) / max(sum(weights), 1e-12)
        torch.testing.assert_close(seen[0][node], expected)
    assert not torch.allclose(seen[0], words), "the words are not all equally rare"


def test_a_stopped_probe_is_scored_where_validation_is_best_and_a_lenient_one_where_test_is():
    torch.manual_seed(0)
    y = torch.arange(600) % 2
    signal = (2.0 * y - 1).unsqueeze(1)
    # Later steps learn the second feature, which says nothing outside the training rows.
    x = torch.cat([0.3 * signal + 0.5 * torch.randn(600, 1), 3 * torch.randn(600, 40)], dim=1)
    train, validation, test = (torch.arange(600) // 200 == part for part in range(3))
    probe = graph_ssl("stopped_probe").stopped_probe
    found = probe(x, y, train, validation, test, steps=300)
    assert probe(x, y, train, validation, test, steps=300) == found
    assert 55 < found["stopped_top1"] <= found["lenient_top1"] < 95
    alone = probe(x, y, train, validation, test, steps=1)
    assert alone["stopped_top1"] == alone["lenient_top1"]
    same = probe(x, y, train, test, test, steps=300)
    assert same["stopped_top1"] == same["lenient_top1"] >= found["lenient_top1"]
