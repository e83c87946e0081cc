"""Checks of the arguments of layers, losses, transforms and measures, in the same words everywhere.

Every error is one line, "<callable> expects <argument> <what>, got <what it is>: <cure>". A check reads values on a CPU
only, neither compiled nor in a transform of ``torch.func``: the host would have to wait for a GPU.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor

Failure = type[ValueError]
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def shape_of(x: object) -> str:
    """What an argument is: shape and type of a tensor, a number or a name itself, the type of anything else."""
    if isinstance(x, Tensor):
        kind = "" if x.layout == torch.strided else f" ({str(x.layout).removeprefix('torch.')})"
        return f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}{kind}"
    return repr(x)[:60] if x is None or isinstance(x, (str, bool, int, float, complex)) else type(x).__name__


def expects(
    caller: str, argument: str, what: str, got: object, cure: str = "", error: Failure = ValueError
) -> ValueError:
    """The error of a wrong argument, to be raised; ``got`` is a text, or the argument itself."""
    text = got if isinstance(got, Got) else shape_of(got)
    return error(f"{caller} expects {argument} {what}, got {text}{f': {cure}' if cure else ''}")


class Got(str):
    """What an argument is, in words of the caller."""


def host_checks(x: Tensor) -> bool:
    """Whether a look at the values costs no wait: on a CPU, neither compiled nor in a transform of ``torch.func``."""
    plain = x.is_cpu and type(x) in (Tensor, torch.nn.Parameter)
    return plain and not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active()


def _bounds(x: Tensor) -> tuple[float, float]:
    """The least and the largest value of a tensor that is not empty."""
    low, high = (x.detach() if x.requires_grad else x).aminmax()
    return low.item(), high.item()


def _is_number(value: object) -> bool:
    """A real number, or a tensor that holds one."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and value.dtype != torch.bool
    if isinstance(value, (int, float, torch.SymInt, torch.SymFloat)):
        return not isinstance(value, bool)
    return isinstance(value, Real)


def _unseen(value: object) -> bool:
    return isinstance(value, Tensor) and not host_checks(value)


def check_number(caller: str, *, error: Failure = ValueError, **values: Any) -> None:
    """Raise ``error`` unless each value is a finite number."""
    for key, value in values.items():
        if not (_is_number(value) and (_unseen(value) or -math.inf < value < math.inf)):
            raise expects(caller, key, "as a number", value, error=error)


def check_positive(caller: str, *, error: Failure = ValueError, **values: Any) -> None:
    """Raise ``error`` unless each value is a finite, constant number above 0."""
    for key, value in values.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise expects(caller, key, "as a constant", Got("a tensor with gradient"), "pass a number", error)
        if not (_is_number(value) and (_unseen(value) or 0 < value < math.inf)):
            raise expects(caller, key, "as a positive number", value, error=error)


def check_probability(caller: str, *, error: Failure = ValueError, **values: Any) -> None:
    """Raise ``error`` unless each value is a number from 0 to 1."""
    for key, value in values.items():
        if not (_is_number(value) and (_unseen(value) or 0 <= value <= 1)):
            raise expects(caller, key, "as a number between 0 and 1", value, error=error)


def check_count(
    caller: str,
    least: int = 1,
    most: float = math.inf,
    *,
    optional: bool = False,
    cure: str = "",
    error: Failure = ValueError,
    **values: Any,
) -> None:
    """Raise ``error`` unless each value is a whole number within the bounds, or ``None`` where it is optional."""
    for key, value in values.items():
        if value is None and optional:
            continue
        whole = isinstance(value, (int, torch.SymInt, Integral)) and not isinstance(value, bool)
        if not (whole and least <= value <= most):
            bounds = f"from {least} to {most}" if most < math.inf else f">= {least}"
            raise expects(caller, key, f"as a whole number {bounds}", value, cure, error)


def check_flag(caller: str, *, error: Failure = ValueError, **values: Any) -> None:
    """Raise ``error`` unless each value is true or false: a text such as ``"False"`` would count as true."""
    for key, value in values.items():
        if isinstance(value, Tensor) or value not in (True, False):
            raise expects(caller, key, "as True or False", value, error=error)


def check_choice(caller: str, choices: tuple[str, ...], **values: Any) -> None:
    """Raise ``ValueError`` unless each value is one of the choices."""
    for key, name in values.items():
        if not isinstance(name, str) or name not in choices:
            raise expects(caller, key, f"as one of {', '.join(map(repr, choices))}", name)


def check_features(caller: str, x: Any, key: str = "x", *, real: bool = False, cure: str = "") -> None:
    """Raise ``ValueError`` unless ``x`` is a dense floating-point tensor ``(n, d)``; ``real`` admits integers."""
    if not isinstance(x, Tensor) or x.dim() != 2 or x.layout != torch.strided or not _has_type(x, real):
        kind = "dense real" if real else "floating-point"
        raise expects(caller, key, f"as {kind} features of shape (n, d)", x, cure)


def _has_type(x: Tensor, real: bool) -> bool:
    return not x.is_complex() if real else x.is_floating_point()


def check_width(caller: str, x: Tensor, width: int, key: str = "x", cure: str = "") -> None:
    """Raise ``ValueError`` unless ``x`` has as many columns as is expected."""
    if x.size(-1) != width:
        raise expects(caller, key, f"of width {width}", x, cure)


def check_device(caller: str, like: Tensor, **tensors: Tensor | None) -> None:
    """Raise ``ValueError`` unless all tensors are on the device of ``like``."""
    for key, x in tensors.items():
        if x is not None and x.device != like.device:
            raise expects(caller, key, f"on {like.device}", Got(f"a tensor on {x.device}"), "move it there")


def as_device(caller: str, device: Any) -> torch.device:
    """The device of this name; ``ValueError`` if there is none."""
    if isinstance(device, torch.device):
        return device
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise expects(caller, "device", "as a torch.device or its name", device) from None


def check_integers(
    caller: str, x: Any, count: int | None = None, key: str = "labels", what: str = "one of each row", cure: str = ""
) -> None:
    """Raise ``ValueError`` unless ``x`` holds ``count`` integers, or any number of them."""
    fits = isinstance(x, Tensor) and x.dtype in _INTEGERS and x.layout == torch.strided and x.dim() == 1
    if not fits or count not in (None, x.size(0)):
        raise expects(caller, key, f"as integers of shape ({'n' if count is None else count},), {what}", x, cure)


def check_within(caller: str, key: str, x: Tensor, size: int, what: str, cure: str = "") -> None:
    """Raise ``ValueError`` for an index out of range, on a CPU only."""
    if x.numel() == 0 or not host_checks(x):
        return
    low, high = _bounds(x)
    if low < 0 or high >= size:
        raise expects(caller, key, f"to hold {what} below {size}, counted from 0", low if low < 0 else high, cure)


def check_mask(caller: str, shape: tuple[int, ...], **masks: Any) -> None:
    """Raise ``ValueError`` unless each mask holds truth values in this shape."""
    for key, mask in masks.items():
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
            raise expects(caller, key, f"as a mask of shape {tuple(shape)}, bool", mask)


def check_batch(caller: str, batch: Any, like: Tensor) -> None:
    """Raise ``ValueError`` unless ``batch`` is ``None`` or has one graph per row of ``like``."""
    if batch is None:
        return
    check_integers(caller, batch, like.size(0), "batch", "the graph of each node")
    check_device(caller, like, batch=batch)


def check_edges(caller: str, edge_index: Adj, edge_weight: OptTensor = None, key: str = "edge_index") -> None:
    """Raise ``ValueError`` unless the edges are integers ``(2, E)`` and the weights, if any, real numbers ``(E,)``."""
    pairs = isinstance(edge_index, Tensor) and edge_index.dim() == 2 and edge_index.size(0) == 2
    if not pairs or edge_index.dtype not in (torch.int64, torch.int32):
        raise expects(
            caller, key, "as integers of shape (2, E)", edge_index, "pass an edge_index or a sparse adjacency"
        )
    if edge_weight is None:
        return
    if not isinstance(edge_weight, Tensor) or edge_weight.shape != edge_index.shape[1:] or edge_weight.is_complex():
        raise expects(caller, "edge_weight", f"as one real number for each of {edge_index.size(1)} edges", edge_weight)


# What the values of a tensor were found to be, as long as it lives: its version then, and the finding. By `id`, which
# takes a fifth of the time of torch's dictionary by tensor.
_FOUND: dict[int, tuple[ReferenceType[Tensor], int, object]] = {}


def _is_known(x: Tensor, finding: object) -> bool:
    """Whether this was found of ``x`` before, and ``x`` has not changed since."""
    if torch.compiler.is_compiling():
        return False
    known = _FOUND.get(id(x))
    return known is not None and known[0]() is x and known[1:] == (x._version, finding)


def _remember(x: Tensor, finding: object) -> None:
    if host_checks(x) and not x.is_inference():
        key = id(x)
        _FOUND[key] = (ref(x, lambda _: _FOUND.pop(key, None)), x._version, finding)


def check_weights(caller: str, edge_weight: OptTensor, cure: str = "clip them") -> None:
    """Raise ``ValueError`` for a weight that is negative or not finite, on a CPU only."""
    if edge_weight is None or _is_known(edge_weight, "weights"):
        return
    if edge_weight.numel() == 0 or not host_checks(edge_weight):
        return
    low, high = _bounds(edge_weight)
    if not 0 <= low <= high < math.inf:
        raise expects(caller, "edge_weight", "as finite numbers >= 0", low if not low >= 0 else high, cure)
    _remember(edge_weight, "weights")


def check_range(caller: str, edge_index: Tensor, sizes: tuple[int, int], key: str = "edge_index") -> None:
    """Raise ``ValueError`` for a node out of range, on a CPU only, where sorting the edges does not check indices and
    would write out of bounds. A GPU checks by itself, and the host would have to wait for it."""
    if _is_known(edge_index, sizes):
        return
    if not edge_index.is_cpu or edge_index.size(1) == 0 or torch.compiler.is_compiling():
        return
    low, high = _bounds(edge_index)
    if low < 0 or high >= min(sizes):
        _check_rows(caller, edge_index, sizes, key)
    _remember(edge_index, sizes)


def _check_rows(caller: str, edge_index: Tensor, sizes: tuple[int, int], key: str) -> None:
    for row, (size, name) in enumerate(zip(sizes, ("source", "target"), strict=True)):
        low, high = _bounds(edge_index[row])
        if low < 0 or high >= size:
            what = f"to hold {name} nodes below {size}, counted from 0"
            got, cure = low if low < 0 else high, "check num_nodes, and that row 0 holds the sources"
            raise expects(caller, f"{key}[{row}]", what, got, cure)


def check_same_graph(
    caller: str, batch: Tensor | None, edge_index: Tensor, kind: str = "positive", key: str = "edge_index"
) -> None:
    """Raise ``ValueError`` for an edge between two graphs, on a CPU only."""
    if batch is None or not host_checks(batch):
        return
    apart = int((batch[edge_index[0]] != batch[edge_index[1]]).sum())
    if apart:
        cure = "give all views of a graph one number (of two stacked views of g graphs, batch % g)"
        got = Got(f"{apart} {kind} edges between different graphs")
        raise expects(caller, key, f"with {kind} edges within the graphs of batch", got, cure)
