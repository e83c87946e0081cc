import itertools

import pytest

from cl_as_gnn.config import OptimConfig, load_config
from cl_as_gnn.encoders import Inputs, build_encoder
from cl_as_gnn.methods import build_method
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.training.fit import train
from cl_as_gnn.training.optim import build_optimizer, rate_factor


def test_schedule_rises_then_falls_to_zero():
    factors = [rate_factor(step, 100, OptimConfig(warmup=0.1)) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] < 0.001
    assert rate_factor(0, 10, OptimConfig(warmup=0)) == 1
    flat = OptimConfig(warmup=0.1, schedule="constant")
    assert [rate_factor(step, 20, flat) for step in (0, 1, 2, 19)] == [0.5, 1, 1, 1]


def small_method():
    config = load_config(None, ["method.name=simclr", "encoder.width=8"])
    return build_method(config.method, build_encoder(config.encoder, Inputs(1, 8)), config.encoder, 10)


def test_an_encoder_names_its_parameters_without_weight_decay(monkeypatch):
    method = small_method()
    token = "body.0.0.weight"
    monkeypatch.setattr(type(method.encoder), "no_weight_decay", lambda self: {token})
    decayed, plain = build_optimizer(OptimConfig(), method).param_groups
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    spared = {names[id(p)] for p in plain["params"]}
    assert f"encoder.{token}" in spared
    assert not any(name.startswith("encoder.") for name in spared - {f"encoder.{token}"})
    assert {names[id(p)] for p in decayed["params"]} | spared == set(names.values())


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars"])
def test_vectors_get_no_weight_decay(name):
    method = small_method()
    optimizer = build_optimizer(OptimConfig(name=name, weight_decay=0.1), method)
    decayed, plain = optimizer.param_groups
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    assert {p.dim() for p in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(method.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_every_optimiser_trains(tmp_path, optimizer, configure):
    metrics = train(configure(tmp_path / "run", f"optim.name={optimizer}", "optim.lr=0.3"))
    rows = open_run(tmp_path / "run").read_history()
    assert metrics["loss"] < float(rows[0]["loss"])
