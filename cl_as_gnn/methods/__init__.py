"""Every method is one rule, attract along one graph and repel along another; each has a file here.

``METHODS`` finds a module of this package by itself: add the file, and ``clgnn`` knows its :class:`Method`.
"""

from cl_as_gnn.methods.base import Batch, Method, build_method
from cl_as_gnn.registry import METHODS

__all__ = ["METHODS", "Batch", "Method", "build_method"]
