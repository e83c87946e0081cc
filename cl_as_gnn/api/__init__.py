"""Train and use an encoder from Python: ``cl_as_gnn.train`` and ``cl_as_gnn.load``."""

from cl_as_gnn.api.run import Run
from cl_as_gnn.api.start import load, train

__all__ = ["Run", "load", "train"]
