"""Global side effects and private names of other packages, each with its reason. Nothing happens at import."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from cl_as_gnn.errors import Notice

if TYPE_CHECKING:
    from torch import nn

ItemT = TypeVar("ItemT")


def tracked(items: Iterable[ItemT], title: str, total: int, shown: bool) -> Iterable[ItemT]:
    """Iterate over items with a bar on stderr that goes when it is full, if it is to be shown.

    Some versions of rich end a disabled bar with an empty line.
    """
    if not shown:
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, title, total, console=Console(stderr=True), transient=True)


@contextmanager
def quiet_command() -> Iterator[None]:
    """Show no warning but those of this package, in one line each, and no log of other packages below an error.

    ``CLGNN_TRACEBACK=1``, ``PYTHONWARNINGS`` and ``python -W`` show all. Use before torch and PyG are imported.
    """
    if os.environ.get("CLGNN_TRACEBACK") or sys.warnoptions:
        yield
        return
    before = warnings.showwarning, logging.root.manager.disable

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            print(f"warning: {message}", file=sys.stderr)  # noqa: T201  (rich would wrap the line)

    # Filters and levels would not do: packages set their own when they are imported.
    warnings.showwarning = show
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of the C++ part of torch.distributed, read at its import
    try:
        yield
    finally:
        warnings.showwarning = before[0]
        logging.disable(before[1])


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Show no warning while packages are imported: callers cannot help what those have. Filters that they set stay."""
    show = warnings.showwarning
    warnings.showwarning = lambda *args, **kwargs: None
    try:
        yield
    finally:
        warnings.showwarning = show


def quiet_sparse() -> None:
    """Filter torch's warnings on CSR tensors: the products that the package uses are stable, its matrices valid."""
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")


def quiet_lightning() -> None:
    """Silence Lightning's hints: they concern its own loaders and loggers, which the package does not use."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    # DDP warns about speed. With one channel, channels-last and contiguous strides describe the same memory.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


def import_named(name: str) -> Any:
    """Import what ``<module>:<name>`` names; the module may lie in the working folder.

    The script ``clgnn`` has its own folder on the path instead of the working folder.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def register_norm(norm: type) -> None:
    """Let PyG's models find a norm layer by its name in ``torch_geometric.nn.norm``; a class of that name stays."""
    from torch_geometric.nn import norm as pyg

    if not hasattr(pyg, norm.__name__):
        setattr(pyg, norm.__name__, norm)


def kill_ranks(launcher: Any) -> None:
    """Kill the other ranks if Lightning started them: a rank that waits in a collective would wait forever."""
    # Lightning has no public name for the launcher, nor another way to end its processes.
    from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(signal.SIGKILL)


def keep_signals(trainer: Any) -> None:
    """Keep Lightning from handling signals: on SIGTERM it waits for the other ranks, which may have ended already, and
    under Slurm it ignores SIGTERM. Lightning has no public switch."""
    trainer._signal_connector.register_signal_handlers = lambda: None


def keep_local(module: nn.Module, names: list[str]) -> None:
    """Keep DDP from sending these buffers to the other ranks. torch offers this by a private name only."""
    from torch.nn.parallel import DistributedDataParallel

    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def is_tracing() -> bool:
    """Return whether ``torch.jit.trace`` is recording: a saved trace cannot hold a custom autograd function."""
    import torch

    return bool(torch._C._get_tracing_state())
