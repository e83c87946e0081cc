"""What a reader needs to know about the machine and the software; nothing that names the machine itself."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from cl_as_gnn.compare.results import available_cores, processor

PACKAGES = ("cl-as-gnn", "torch", "torch-geometric", "torchvision", "faiss-cpu", "faiss-gpu", "lightly", "numpy")


def versions() -> dict[str, str | None]:
    """Of Python and the packages; None for one that is not installed."""
    out: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = None
    return out


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, cores, threads, and the GPU if the rows ran on one."""
    out: dict[str, Any] = {
        "processor": processor(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load": load(),
        "device": device.type,
        "fp32_products": torch.get_float32_matmul_precision(),
    }
    if device.type == "cuda":
        out |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return out


def load(seconds: float = 0.5) -> float | None:
    """Cores that other processes keep busy just now; None where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def busy() -> int:
        user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text(encoding="utf-8").split()[1:9])
        return user + nice + system + irq + softirq

    before = busy()
    time.sleep(seconds)
    return (busy() - before) / os.sysconf("SC_CLK_TCK") / seconds
