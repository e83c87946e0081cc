"""Contrastive learning as message passing, on PyTorch Geometric."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_as_gnn.api import Run, load, train

__version__ = "0.2.0"
__all__ = ["Run", "load", "train"]


def __getattr__(name: str) -> Any:
    """Import ``train``, ``load`` and ``Run`` once they are used: the package itself imports nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cl_as_gnn.compat import quiet_imports

    with quiet_imports():
        from cl_as_gnn import api
    return getattr(api, name)
