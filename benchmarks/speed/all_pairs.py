"""NT-Xent over all pairs, forward and backward: streamed, lightly's, and plain dense torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common.memory import extra_peak
from benchmarks.common.timing import Contender, Row, Settings, Work
from cl_as_gnn.graph import augmentation_edges
from cl_as_gnn.nn.functional import nt_xent

TEMPERATURE = 0.5
TEMPERATURES = (0.5, 0.01)
OURS, LIGHTLY, DENSE = "cl_as_gnn", "lightly", "dense torch"
MILLION = 2**20
Loss = Callable[[Tensor, float], Tensor]


def losses() -> dict[str, Loss]:
    """By name; lightly's only where it is installed."""
    out: dict[str, Loss] = {OURS: _ours, LIGHTLY: _lightly, DENSE: _dense}
    if find_spec("lightly") is None:
        del out[LIGHTLY]
    return out


def rows(settings: Settings, sizes: tuple[int, ...] | None = None, dim: int = 128, bf16: bool = False) -> Iterator[Row]:
    """A row for every number of nodes."""
    for n in sizes or ((256, 1024) if settings.quick else (256, 1024, 4096, 8192)):
        yield _row(settings, n, dim, bf16)


def peaks(settings: Settings, sizes: tuple[int, ...] | None = None, dim: int = 128) -> Iterator[Row]:
    """Peak memory by number of nodes; the peers only as far as they fit into the memory of a small machine."""
    device = settings.device
    million = (MILLION,) if device.type == "cuda" else ()
    for n in sizes or ((1024,) if settings.quick else (1024, 8192, 65536, *million)):
        contenders = []
        for name in losses():
            if n > 8192 and name != OURS:
                continue
            peak = extra_peak(build_call, (name, n, dim, False, device), (name, 64, dim, False, device), device)
            contenders.append(Contender(name, lambda: None, extra={"peak MB": None if peak is None else peak / 1e6}))
        notes = ["forward + backward in fp32; beyond the inputs, in a process of its own, exact to a few MB"]
        yield Row("memory", str(n), contenders, {"n": n, "d": dim, "temperature": TEMPERATURE}, notes, untimed=True)


def large(settings: Settings, sizes: tuple[int, ...] | None = None, dim: int = 128) -> Iterator[Row]:
    """Time alone, where the others would need tens of gigabytes: up to a million nodes on a GPU."""
    usual = (65536, MILLION) if settings.device.type == "cuda" else (32768,)
    for n in sizes or ((2048,) if settings.quick else usual):
        x = features(n, dim, settings.device).requires_grad_()
        for bf16 in (False, True):
            call = partial(gradient, _ours, x, TEMPERATURE, bf16)
            work = Work(flops=4 * n**2 * dim, dtype=torch.bfloat16 if bf16 else torch.float32)
            yield _titled("all_pairs_large", n, dim, bf16, [Contender(OURS, call, work)])


def features(n: int, dim: int, device: torch.device) -> Tensor:
    """Two noisy copies of n/2 random points, the first copies first.

    Alike by 0.2 only, as early in training: a gradient that is nearly zero has no meaningful relative error.
    """
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(n // 2, dim, generator=generator).repeat(2, 1)
    return (base + 2 * torch.randn(n, dim, generator=generator)).to(device)


def _ours(x: Tensor, temperature: float) -> Tensor:
    return nt_xent(x, augmentation_edges(x.size(0) // 2, 2, x.device), temperature)


def _lightly(x: Tensor, temperature: float) -> Tensor:
    loss: Tensor = _lightly_module(temperature)(*x.chunk(2))
    return loss


@lru_cache
def _lightly_module(temperature: float) -> torch.nn.Module:
    from lightly.loss import NTXentLoss

    module: torch.nn.Module = NTXentLoss(temperature=temperature)
    return module


def _dense(x: Tensor, temperature: float) -> Tensor:
    z = F.normalize(x, dim=1)
    logits = (z / temperature) @ z.t()
    logits.fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(x), device=x.device).roll(len(x) // 2))


def gradient(loss: Loss, x: Tensor, temperature: float, bf16: bool) -> Tensor:
    """Of the loss at a leaf ``x``, the loss under autocast to bfloat16 if asked for."""
    del x.grad
    cast: AbstractContextManager[object] = torch.autocast(x.device.type, torch.bfloat16) if bf16 else nullcontext()
    with cast:
        value = loss(x, temperature)
    value.backward()
    assert x.grad is not None
    return x.grad


def build_call(name: str, n: int, dim: int, bf16: bool, device: torch.device) -> Callable[[], object]:
    """One forward and backward pass on fresh inputs, for a child process."""
    x = features(n, dim, device).requires_grad_()
    return partial(gradient, losses()[name], x, TEMPERATURE, bf16)


def reference_gradient(x: Tensor, temperature: float, strip: int = 1024) -> Tensor:
    """In float64 from the formula, a strip of rows at a time: −(A + Aᵀ − P − Pᵀ) z / (τ n), then through x / ‖x‖."""
    x = x.detach().double().requires_grad_()
    z = F.normalize(x, dim=1)
    n, fixed = len(z), z.detach()
    message = -2 * fixed.roll(n // 2, 0)
    for start in range(0, n, strip):
        part = fixed[start : start + strip]
        logits = part @ fixed.t() / temperature
        logits[torch.arange(len(part)), torch.arange(start, start + len(part))] = -torch.inf
        share = logits.softmax(1)
        message[start : start + strip] += share @ fixed
        message += share.t() @ part
    (out,) = torch.autograd.grad(z, x, message / (temperature * n))
    return out


def relative_error(value: Tensor, exact: Tensor) -> float:
    """‖value − exact‖ / ‖exact‖ over all entries."""
    return float((value.double() - exact).norm() / exact.norm())


def _row(settings: Settings, n: int, dim: int, bf16: bool) -> Row:
    device, dtype = settings.device, torch.bfloat16 if bf16 else torch.float32
    x = features(n, dim, device).requires_grad_()
    exact = {temperature: reference_gradient(x, temperature) for temperature in TEMPERATURES}
    work = Work(flops=4 * n**2 * dim, dtype=dtype)
    contenders = []
    for name, loss in losses().items():
        extra: dict[str, float | None] = {
            f"error τ={temperature}": relative_error(gradient(loss, x, temperature, bf16), exact[temperature])
            for temperature in TEMPERATURES
        }
        contenders.append(Contender(name, partial(gradient, loss, x, TEMPERATURE, bf16), work, extra=extra))
    notes = ["error: of the gradient, relative to float64"]
    if LIGHTLY not in losses():
        notes.append("lightly is not installed (pip install '.[bench]'): dense torch stands alone")
    return _titled("all_pairs_bf16" if bf16 else "all_pairs", n, dim, bf16, contenders, *notes)


def _titled(group: str, n: int, dim: int, bf16: bool, contenders: list[Contender], *notes: str) -> Row:
    precision = "bf16" if bf16 else "fp32"
    sizes = {"n": n, "d": dim, "precision": precision + " autocast" * bf16, "temperature": TEMPERATURE}
    floor = f"forward + backward at τ = {TEMPERATURE}; floor: 4 n² d flops of {precision} products"
    return Row(group, f"{n} {precision}", contenders, sizes, [floor, *notes])
