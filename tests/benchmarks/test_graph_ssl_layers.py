"""The benchmarks of the layers run, go on where they stopped, and their pages show what is in their JSON."""

import importlib
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.graph_ssl.{name}")


def citation_graph():
    """Two groups of papers, each with words and citations of its own."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = (torch.rand(60, 20, generator=generator) < torch.where((torch.arange(20) % 2) == y[:, None], 0.4, 0.05)).float()
    pairs = torch.randint(60, (2, 400), generator=generator)
    pairs = pairs[:, y[pairs[0]] == y[pairs[1]]]
    node = torch.arange(60)
    masks = {"train_mask": node < 10, "val_mask": (node >= 10) & (node < 30), "test_mask": node >= 40}
    return Data(x=x, y=y, edge_index=torch.cat([pairs, pairs.flip(0)], 1), rest_mask=node >= 30, **masks)


def test_depth_keeps_every_run_and_does_not_repeat_it(module, monkeypatch, tmp_path):
    depth = module("depth")
    monkeypatch.setattr(depth, "load", lambda root, name: citation_graph())
    monkeypatch.setattr(depth, "EPOCHS", 30)
    said = []
    settings = {"datasets": ["Cora"], "depths": [2, 3], "norms": ["none", "ContraNorm τ=0.5"], "say": said.append}
    first = depth.run(tmp_path, tmp_path / "depth.json", 1, **settings)
    assert len(said) == 4
    assert min(run["test"] for run in first["runs"]) > 80
    again = depth.run(tmp_path, tmp_path / "depth.json", 2, **settings)
    assert len(said) == 8
    assert again["runs"][:4] == first["runs"]
    assert json.loads((tmp_path / "depth.json").read_text()) == again
    assert "(2)" in depth.table(again, "Cora")
    monkeypatch.setattr(depth, "ABOUT", {"protocol": "another"})
    with pytest.raises(ValueError, match="made with protocol"):
        depth.run(tmp_path, tmp_path / "depth.json", 1, **settings)


def test_best_is_chosen_on_validation_and_not_on_test(module):
    depth = module("depth")

    def row(norm, validation, test):
        return {"data": "Cora", "norm": norm, "depth": 8, "seed": 0, "validation": validation, "test": test}

    content = {"runs": [row("ContraNorm τ=1", 70, 60), row("ContraNorm τ=0.2", 60, 70), row("LayerNorm", 99, 99)]}
    assert depth.chosen(content, "Cora", 8) == "ContraNorm τ=1"


def test_the_lead_over_centring_is_paired_over_the_seeds(module):
    depth = module("depth")
    tests = {"LayerNorm": {0: 60.0, 1: 72.0, 2: 1.0}, depth.CONTROL: {1: 70.0, 0: 60.0}}
    runs = [
        {"data": "Cora", "norm": norm, "depth": 8, "seed": seed, "test": test}
        for norm, found in tests.items()
        for seed, test in found.items()
    ]
    # Differences 0 and 2: mean 1, standard error 1, t of 12.7 with one degree of freedom.
    assert depth.ahead({"runs": runs}, "Cora", "LayerNorm", 8) == "+1.0 ± 12.7"
    assert depth.ahead({"runs": runs}, "Cora", "PairNorm", 8) == "–"


def test_products_are_those_of_the_dense_matrices(module):
    planetoid, data = module("planetoid"), citation_graph()
    a = torch.eye(60).index_put((data.edge_index[1], data.edge_index[0]), torch.ones(data.num_edges), accumulate=True)
    x = torch.randn(60, 5, requires_grad=True)
    expected = a / a.sum(1, keepdim=True) @ x
    out = planetoid.mean_adjacency(data)(x)
    torch.testing.assert_close(out, expected)
    wanted = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), x), wanted)
    weight = torch.randn(20, 5)
    torch.testing.assert_close(planetoid.features(data.x)(weight), F.normalize(data.x, p=1, dim=1) @ weight)
    torch.manual_seed(0)
    dropped = planetoid.dropout(torch.ones(1000, 50), 0.6)
    assert dropped.unique().tolist() == [0, pytest.approx(256 / 102)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_alignment_alone_collapses_and_centring_does_not(module, monkeypatch):
    alignment, data = module("alignment"), citation_graph()
    views = alignment.Views(data)
    a = torch.eye(60).index_put((data.edge_index[1], data.edge_index[0]), torch.ones(data.num_edges), accumulate=True)
    root = a.sum(1).rsqrt()
    torch.testing.assert_close(views.graph(torch.eye(60), views.weights()), root[:, None] * a * root)
    monkeypatch.setattr(alignment, "EPOCHS", 50)
    runs = {norm: alignment.train(data, views, norm, 0) for norm in ("none", "mean subtraction", alignment.REFERENCE)}
    assert runs["none"]["cosine"] > 0.95
    assert max(runs["mean subtraction"]["cosine"], runs[alignment.REFERENCE]["cosine"]) < 0.3
    table = alignment.table({"runs": [{"norm": n, **run} for n, run in runs.items()]})
    assert table.count("(1)") == 9
    assert alignment.FLOOR not in table


def test_the_floor_of_alignment_is_the_power_that_is_best_on_validation(module, monkeypatch):
    alignment, data = module("alignment"), citation_graph()
    validation = iter([50.0, 70.0, 60.0, *[0.0] * 6])
    monkeypatch.setattr(alignment, "scores", lambda unit, data: (next(validation, 0.0), 12.3))
    found = alignment.floor(data)
    assert (found["k"], found["test"]) == (1, 12.3)
    power = F.normalize(alignment.propagated(data)[1], dim=1)
    assert found["cosine"] == pytest.approx(float((power @ power.t()).mean()), abs=1e-4)
    assert "| floor: AᵏX, k = 1 | – | 12.3 |" in alignment.table({"runs": [{"norm": "AᵏX", **found}]})


def test_the_three_losses_are_one_number(module):
    memory = module("memory")
    z = torch.randn(40, 8, dtype=torch.double, requires_grad=True)
    values = [loss(z) for loss in memory.LOSSES.values()]
    grads = [torch.autograd.grad(value, z)[0] for value in values]
    for value, grad in zip(values[1:], grads[1:], strict=True):
        torch.testing.assert_close(value, values[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(grad, grads[0], atol=1e-12, rtol=0)


def test_an_estimate_survives_a_size_too_small_to_measure(module):
    memory = module("memory")
    nothing = {"nodes": 300, "seconds": 1e-4, "bytes": 0}
    dense = memory._measure("dense autograd", 10_000_000, nothing, 60.0)
    assert dense["estimate"]
    assert not dense["fits"]
    assert memory._measure("cl_as_gnn", 10_000_000, nothing, 60.0)["estimate"]


def test_what_takes_too_long_or_does_not_fit_is_an_estimate(module, tmp_path):
    memory = module("memory")
    content = memory.run(out=tmp_path / "memory.json", nodes=(300, 10_000_000), limit=60.0, say=lambda line: None)
    known = {(run["loss"], run["nodes"]): run for run in content["runs"]}
    assert not known["cl_as_gnn", 300]["estimate"]
    assert known["cl_as_gnn", 10_000_000]["estimate"]
    assert not known["dense autograd", 10_000_000]["fits"]
    table = memory.table(content)
    assert "does not fit" in table
    assert table.count("≈") >= 3
