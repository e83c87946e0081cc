"""The methods, one per file: each attracts along one graph and repels along another. ``METHODS`` finds every file."""

from cl_as_gnn.methods.base import Batch, Method, Preview, build_method
from cl_as_gnn.registry import METHODS

__all__ = ["METHODS", "Batch", "Method", "Preview", "build_method"]
