import os

import pytest
import torch

from cl_as_gnn.config import TrainerConfig
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.runs.folder import is_first_rank
from cl_as_gnn.runs.process import check_ranks, keep_freed_memory, lost_rank, pick_precision


def test_one_process_is_the_first_rank_whatever_started_it(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert is_first_rank(TrainerConfig())
    assert not is_first_rank(TrainerConfig(devices=2))


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_the_first_of_several_has_no_number_but_zero(monkeypatch, name):
    config = TrainerConfig(devices=2, num_nodes=2)
    monkeypatch.setenv(name, "0")
    assert is_first_rank(config)
    monkeypatch.setenv(name, "1")
    assert not is_first_rank(config)


def test_ranks_that_do_not_fit_are_one_line(monkeypatch):
    check_ranks(TrainerConfig(accelerator="cpu", devices=4, num_nodes=2, batch_size=64))
    with pytest.raises(ConfigError, match=r"trainer.batch_size=30 is shared by 4 ranks .* such as 28"):
        check_ranks(TrainerConfig(accelerator="cpu", devices=2, num_nodes=2, batch_size=30))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer.devices=16 exceeds 4 processes for each of this machine's 2 cores"):
        check_ranks(TrainerConfig(accelerator="cpu", devices=16, batch_size=32))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"trainer.devices=2, but this machine has 1 GPUs"):
        check_ranks(TrainerConfig(devices=2))
    # torchrun says how many processes it has started.
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_ranks(TrainerConfig(accelerator="cpu", devices=2))
    with pytest.raises(ConfigError, match=r"torchrun started 2 processes, .* are 1: set trainer.devices"):
        check_ranks(TrainerConfig(accelerator="cpu"))


def test_what_says_that_a_rank_is_gone():
    assert lost_rank(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1"))
    assert lost_rank(torch.distributed.DistBackendError("NCCL error"))
    assert not lost_rank(RuntimeError("size mismatch"))


def test_precision_and_allocator():
    assert pick_precision(TrainerConfig(precision="fp32")) == "32-true"
    assert pick_precision(TrainerConfig(precision="bf16")) == "bf16-mixed"
    assert pick_precision(TrainerConfig(accelerator="cpu")) in ("32-true", "bf16-mixed")
    assert keep_freed_memory(TrainerConfig(accelerator="cpu")) in (True, False)
