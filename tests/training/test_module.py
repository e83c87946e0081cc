import itertools
from types import SimpleNamespace

import pytest
import torch

from cl_as_gnn.config import OptimConfig, TrainerConfig, load_config
from cl_as_gnn.datasets import load_images
from cl_as_gnn.runs.process import keep_freed_memory, pick_precision
from cl_as_gnn.training.module import ContrastiveModule, EpochSeed, build_optimizer, rate_factor


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


def test_epoch_seeds_differ_by_seed_epoch_and_rank():
    seeds = {EpochSeed(s)(e, r) for s in range(5) for e in range(50) for r in range(3)}
    assert len(seeds) == 5 * 50 * 3
    assert EpochSeed(3)(4, 1) == EpochSeed(3)(4, 1)


def test_ranks_share_the_batches_and_the_edges_but_not_the_views():
    def epoch(ranks, rank):
        config = load_config(None, [f"trainer.devices={ranks}", "trainer.batch_size=64", "encoder.width=8"])
        module = ContrastiveModule(config, load_images(config.data))
        module._trainer = SimpleNamespace(
            current_epoch=3, world_size=ranks, global_rank=rank, global_step=0, estimated_stepping_batches=1
        )
        batches = list(module.train_dataloader())
        module.on_train_epoch_start()
        views = module.augment(module.images[:2], 1, *module._draws)
        return torch.stack(batches), views, torch.rand(3)

    whole, *_ = epoch(1, 0)
    first, second = epoch(2, 0), epoch(2, 1)
    assert torch.equal(torch.cat([first[0], second[0]], dim=1), whole)
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars"])
def test_vectors_get_no_weight_decay(name):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = build_optimizer(OptimConfig(name=name, weight_decay=0.1), model)
    decayed, plain = optimizer.param_groups
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 4


def test_precision_and_allocator():
    assert pick_precision(TrainerConfig(precision="fp32")) == "32-true"
    assert pick_precision(TrainerConfig(precision="bf16")) == "bf16-mixed"
    assert pick_precision(TrainerConfig(accelerator="cpu")) in ("32-true", "bf16-mixed")
    assert keep_freed_memory(TrainerConfig(accelerator="cpu")) in (True, False)
