"""Every method is one rule, attract along one graph and repel along another; each has a file here.

A module of this package that defines a :class:`Method` is found by itself: add the file, and ``clgnn`` knows it.
"""

from importlib import import_module
from pkgutil import iter_modules

from cl_as_gnn.methods.base import METHODS, Batch, Method, build_method

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Batch", "Method", "build_method"]
