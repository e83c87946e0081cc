"""Ranks, devices, precision and memory of the processes of a run."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Literal

import torch

from cl_as_gnn.config import TrainerConfig
from cl_as_gnn.errors import ConfigError

# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def check_ranks(config: TrainerConfig) -> None:
    """Raise ConfigError if the batch, the launcher or the machine do not fit the number of ranks."""
    if config.batch_size % config.ranks:
        raise ConfigError(
            f"trainer.batch_size={config.batch_size} is shared by {config.ranks} ranks (devices x num_nodes): use a "
            f"multiple of that, such as {max(1, config.batch_size // config.ranks) * config.ranks}"
        )
    launcher, started = launched(config)
    if started != config.ranks:
        per_node, nodes = (
            ("--nproc-per-node", "--nnodes") if launcher == "torchrun" else ("--ntasks-per-node", "--nodes")
        )
        raise ConfigError(
            f"{launcher} started {started} processes, trainer.devices={config.devices} x trainer.num_nodes="
            f"{config.num_nodes} are {config.ranks}: set trainer.devices to its {per_node} and "
            f"trainer.num_nodes to its {nodes}"
        )
    if uses_gpu(config) and config.devices > torch.cuda.device_count():
        raise ConfigError(
            f"trainer.devices={config.devices}, but this machine has {torch.cuda.device_count()} GPUs: use fewer, or "
            "trainer.accelerator=cpu"
        )
    cores = os.cpu_count() or 1
    if not uses_gpu(config) and config.devices > 4 * cores:
        raise ConfigError(
            f"trainer.devices={config.devices} exceeds 4 processes for each of this machine's {cores} cores: use "
            f"{cores}, or at most {4 * cores}"
        )


def launched(config: TrainerConfig) -> tuple[str, int]:
    """What starts the ranks of a run, and how many: torchrun, srun, or else Lightning ("")."""
    if torch.distributed.is_torchelastic_launched():
        return "torchrun", int(os.environ.get("WORLD_SIZE", 1))
    # Set by srun alone: the other variables of Slurm are also in a job whose script calls clgnn itself.
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    return ("srun", tasks) if tasks > 1 and config.ranks > 1 else ("", config.ranks)


def lost_rank(error: Exception) -> bool:
    """Whether an error means that another process of the run has ended."""
    text = str(error)
    return isinstance(error, torch.distributed.DistError) or "gloo" in text or "Connection closed by peer" in text


def uses_gpu(config: TrainerConfig) -> bool:
    """Whether a run with these settings trains on a CUDA device."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def pick_device(config: TrainerConfig) -> torch.device:
    """The device that evaluates a frozen encoder."""
    return torch.device("cuda" if uses_gpu(config) else "cpu")


def keep_freed_memory(config: TrainerConfig) -> bool:
    """Let glibc keep the large buffers that CPU runs free; returns whether it accepted (Linux with glibc).

    Each step of a small network allocates the same large buffers: page faults would cost as much as the arithmetic.
    """
    if uses_gpu(config) or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28))
    return [libc.mallopt(parameter, value) for parameter, value in settings] == [1, 1, 1]


def pick_precision(config: TrainerConfig) -> Literal["bf16-mixed", "32-true"]:
    """Lightning's name of the precision; ``auto`` is bf16 on hardware that multiplies it faster than float32."""
    if config.precision != "auto":
        fast = config.precision == "bf16"
    elif uses_gpu(config):
        fast = torch.cuda.get_device_capability() >= (8, 0)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"
