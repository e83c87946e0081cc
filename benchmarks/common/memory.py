"""Extra peak memory and processor time of a call, in a child process of its own.

On the CPU it is the rise of the child's largest resident set (``resource.getrusage``) over one call, after the inputs
are there and a small call has loaded what the first call loads. It counts all memory, also that of oneDNN and of the
allocator, to a few MB. On CUDA it is the rise of the caching allocator's peak. The child is forked from a clean server
that has imported torch and started no thread, because a plainly started process inherits its parent's peak.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class Cost(NamedTuple):
    """Of one call: memory beyond what was there in bytes, and seconds of all its threads."""

    bytes: float
    seconds: float


def extra_peak(
    build: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], small: tuple[Any, ...], device: torch.device
) -> float | None:
    """Bytes, or None where the system cannot say.

    Args:
        build: a function of a module that makes the inputs and returns the call.
        arguments: of ``build``.
        small: arguments of a small warm-up.
    """
    cost = cost_of(build, arguments, small, device)
    return None if cost is None else cost.bytes


def cost_of(
    build: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], small: tuple[Any, ...], device: torch.device
) -> Cost | None:
    """Memory and time of one call, as :func:`extra_peak`; time is that of processors, so not of a GPU."""
    if resource is None or "forkserver" not in multiprocessing.get_all_start_methods():
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([build.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, build, arguments, small, device, torch.get_num_threads()).result()


def _measure(
    build: Callable[..., Callable[[], object]],
    arguments: tuple[Any, ...],
    small: tuple[Any, ...],
    device: torch.device,
    threads: int,
) -> Cost:
    torch.set_num_threads(threads)
    build(*small)()
    call = build(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before, start = torch.cuda.memory_allocated(device), time.process_time()
        call()
        torch.cuda.synchronize(device)
        return Cost(float(torch.cuda.max_memory_allocated(device) - before), time.process_time() - start)
    before, start = _resident_peak(), time.process_time()
    call()
    return Cost(float(_resident_peak() - before), time.process_time() - start)


def _resident_peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
