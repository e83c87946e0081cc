import itertools

import pytest
import torch

from cl_as_gnn.config import OptimConfig
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


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars"])
def test_vectors_get_no_weight_decay(name):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = build_optimizer(OptimConfig(name=name, weight_decay=0.1), model)
    decayed, plain = optimizer.param_groups
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 4


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_every_optimiser_trains(tmp_path, optimizer, configure):
    metrics = train(configure(tmp_path / "run", f"optim.name={optimizer}", "optim.lr=0.3"))
    rows = open_run(tmp_path / "run").read_history()
    assert metrics["loss"] < float(rows[0]["loss"])
