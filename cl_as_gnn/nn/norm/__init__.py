"""Norm layers with the signature of PyG's: ``norm(x, batch, batch_size)``, the width first in the constructor.

Importing this package registers :class:`ContraNorm` with PyG, so that its models find it by name:
``GCN(..., norm="ContraNorm", norm_kwargs={"scale": 0.5})``. An instance, ``GCN(..., norm=ContraNorm(64))``, also works.

The control for centering is PyG's ``MeanSubtractionNorm()``. Pass it as an instance, since it takes no width.
"""

from cl_as_gnn.compat import register_norm
from cl_as_gnn.nn.norm.contra_norm import ContraNorm

register_norm(ContraNorm)

__all__ = ["ContraNorm"]
